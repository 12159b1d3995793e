"""The models of the typed views, the same for all."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Address(BaseModel):
    street: str
    city: str
    zip: str = Field(min_length=3)
    country: str = Field(max_length=2)


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    count: int = Field(1, ge=0)


class Order(BaseModel):
    id: int
    name: str = Field(min_length=1)
    address: Address
    items: list[Item]
    note: str = ""
    paid: bool = False


class Answer(BaseModel):
    id: int
    total: float
    items: list[Item]
