"""APIFlask, whose app is a subclass of Flask's: input, output and auth round views of either
colour."""

from __future__ import annotations

import asyncio
import json

import pytest
from apiflask import APIBlueprint, APIFlask, HTTPTokenAuth, Schema, abort
from apiflask.fields import Integer, String
from apiflask.validators import Length
from apiflask.views import MethodView


class PetIn(Schema):
    name = String(required=True, validate=Length(min=2))


class PetOut(Schema):
    id = Integer()
    name = String()


@pytest.fixture
def door(open_door):
    app = APIFlask(__name__, title="Pets")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    auth = HTTPTokenAuth()
    pets = []

    @auth.verify_token
    async def verify(token):
        await asyncio.sleep(0)
        return "ann" if token == "token" else None

    @app.post("/plain")
    @app.input(PetIn)
    @app.output(PetOut, status_code=201)
    def plain(json_data):
        pets.append(json_data["name"])
        return {"id": len(pets), "name": pets[-1], "secret": 1}

    @app.post("/async")
    @app.input(PetIn)
    @app.output(PetOut, status_code=201)
    async def asynchronous(json_data):
        await asyncio.sleep(0)
        pets.append(json_data["name"])
        return {"id": len(pets), "name": pets[-1], "secret": 1}

    blueprint = APIBlueprint("pets", __name__, url_prefix="/pets")

    class Pet(MethodView):
        @blueprint.output(PetOut)
        async def get(self, number):
            await asyncio.sleep(0)
            if number > len(pets):
                abort(404, "No such pet.")
            return {"id": number, "name": pets[number - 1]}

        @blueprint.auth_required(auth)
        async def delete(self, number):
            await asyncio.sleep(0)
            del pets[number - 1]
            return {"by": auth.current_user}

    blueprint.add_url_rule("/<int:number>", view_func=Pet.as_view("pet"))
    app.register_blueprint(blueprint)
    return open_door(app)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_input_and_output(door, path):
    answer = door(path, "POST", json={"name": "rex"})
    assert (answer.status, json.loads(answer.text)) == (201, {"id": 1, "name": "rex"})
    answer = door(path, "POST", json={"name": "r"})
    assert answer.status == 422
    assert json.loads(answer.text)["detail"]["json"]["name"]


def test_class(door):
    door("/async", "POST", json={"name": "rex"})
    assert json.loads(door("/pets/1").text) == {"id": 1, "name": "rex"}
    answer = door("/pets/2")
    assert (answer.status, json.loads(answer.text)["message"]) == (404, "No such pet.")
    assert door("/pets/1", "DELETE").status == 401
    answer = door("/pets/1", "DELETE", headers={"Authorization": "Bearer token"})
    assert json.loads(answer.text) == {"by": "ann"}


def test_description(door):
    description = json.loads(door("/openapi.json").text)
    paths = description["paths"]
    assert set(paths) == {"/plain", "/async", "/pets/{number}"}
    assert paths["/plain"]["post"]["responses"] == paths["/async"]["post"]["responses"]
    assert "swagger-ui" in door("/docs").text
