"""Flask-RESTful: resources with plain and with async methods."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from flask import Flask
from flask_restful import Api, Resource, abort, fields, marshal, marshal_with, reqparse
from pool import Pool

app = Flask(__name__)
api = Api(app)
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")
tasks = {}
parser = reqparse.RequestParser()
parser.add_argument("title", required=True, help="every task needs one")
parser.add_argument("priority", type=int, default=0)
TASK = {"title": fields.String, "priority": fields.Integer, "uri": fields.Url("asynctask")}


def find(name):
    if name not in tasks:
        abort(404, message=f"There is no {name}.")
    return tasks[name]


class PlainTask(Resource):
    @marshal_with(TASK)
    def get(self, name):
        return find(name)

    def put(self, name):
        tasks[name] = {**parser.parse_args(), "name": name}
        return marshal(tasks[name], TASK), 201, {"X-Made-By": "plain"}

    def delete(self, name):
        find(name)
        del tasks[name]
        return "", 204


class AsyncTask(Resource):
    # What decorates async methods stands here, where it gets what they return.
    method_decorators = {"get": [marshal_with(TASK)]}

    async def get(self, name):
        await asyncio.sleep(0)
        return find(name)

    async def put(self, name):
        await asyncio.sleep(0)
        tasks[name] = {**parser.parse_args(), "name": name}
        return marshal(tasks[name], TASK), 201, {"X-Made-By": "async"}

    async def delete(self, name):
        await asyncio.sleep(0)
        find(name)
        del tasks[name]
        return "", 204

    async def post(self, name):
        raise ValueError("on purpose")


class Visit(Resource):
    async def get(self):
        return int(await pool.visit())


api.add_resource(PlainTask, "/plain/<name>")
api.add_resource(AsyncTask, "/async/<name>")
api.add_resource(Visit, "/pool")
