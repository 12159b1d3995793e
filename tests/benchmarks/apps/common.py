"""What the apps have in common: sizes, and the rows of the template."""

from __future__ import annotations

from dataclasses import dataclass

CHUNK = b"0123456789abcdef\n"
CHUNKS = 1_000
"""Of a stream, all alike."""
CSV_ROWS = 5_000
MEGABYTE = b"x" * 1_000_000
MEGABYTES = 8


def csv_row(number: int) -> str:
    """Some 50 bytes."""
    return f"{number},Article number {number},9.50,new sale,{number:08}\n"


ROUTES = 100
"""Of the resources that each app has; the one in the middle is asked for."""
WAIT_SECONDS = 0.1
WAITING_THREADS = 100
"""How many sync functions may wait at once."""


@dataclass(frozen=True)
class Row:
    id: int
    name: str
    price: float
    tags: tuple[str, ...]


ROWS = [
    Row(number, f"Article <{number}>", 9.5 + number, ("new", "sale")) for number in range(1, 13)
]
