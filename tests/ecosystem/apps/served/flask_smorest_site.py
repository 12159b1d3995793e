"""Flask-Smorest: a documented API of plain and async methods."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import marshmallow as ma
from flask import Flask
from flask.views import MethodView
from flask_smorest import Api, Blueprint, abort
from pool import Pool

app = Flask(__name__)
app.config.update(
    API_TITLE="Pets",
    API_VERSION="v1",
    OPENAPI_VERSION="3.0.2",
    OPENAPI_URL_PREFIX="/",
    OPENAPI_SWAGGER_UI_PATH="/docs",
    OPENAPI_SWAGGER_UI_URL="https://example.org/swagger-ui/",
)
api = Api(app)
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")
pets = {}


class PetSchema(ma.Schema):
    id = ma.fields.Int(dump_only=True)
    name = ma.fields.String(required=True, validate=ma.validate.Length(min=2))


class QuerySchema(ma.Schema):
    name = ma.fields.String(load_default="")


def add(pet):
    pets[len(pets)] = pet = {"id": len(pets), **pet}
    return pet


def find(number):
    if number not in pets:
        abort(404, message="No such pet.")
    return pets[number]


plain = Blueprint("plain", "plain", url_prefix="/plain", description="By plain methods")
asynchronous = Blueprint("async", "async", url_prefix="/async", description="By async methods")


@plain.route("/")
class PlainPets(MethodView):
    @plain.arguments(QuerySchema, location="query")
    @plain.response(200, PetSchema(many=True))
    @plain.paginate()
    def get(self, query, pagination_parameters):
        found = [pet for pet in pets.values() if pet["name"].startswith(query["name"])]
        pagination_parameters.item_count = len(found)
        return found[pagination_parameters.first_item : pagination_parameters.last_item + 1]

    @plain.arguments(PetSchema)
    @plain.response(201, PetSchema)
    def post(self, pet):
        return add(pet)


@asynchronous.route("/")
class AsyncPets(MethodView):
    @asynchronous.arguments(QuerySchema, location="query")
    @asynchronous.response(200, PetSchema(many=True))
    @asynchronous.paginate()
    async def get(self, query, pagination_parameters):
        await asyncio.sleep(0)
        found = [pet for pet in pets.values() if pet["name"].startswith(query["name"])]
        pagination_parameters.item_count = len(found)
        return found[pagination_parameters.first_item : pagination_parameters.last_item + 1]

    @asynchronous.arguments(PetSchema)
    @asynchronous.response(201, PetSchema)
    async def post(self, pet):
        await asyncio.sleep(0)
        return add(pet)


@plain.route("/<int:number>")
@plain.etag
@plain.response(200, PetSchema)
def pet(number):
    return find(number)


@asynchronous.route("/<int:number>")
@asynchronous.etag
@asynchronous.response(200, PetSchema)
async def async_pet(number):
    await asyncio.sleep(0)
    return find(number)


@asynchronous.route("/pool")
@asynchronous.response(200)
async def visit():
    return await pool.visit()


api.register_blueprint(plain)
api.register_blueprint(asynchronous)
