"""Flask-JWT-Extended round a view that uses what belongs to the server's loop."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, request
from flask_jwt_extended import JWTManager, create_access_token, current_user, jwt_required
from pool import Pool

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = "long enough for its hash: thirty-two bytes"
manager = JWTManager(app)
manager.user_lookup_loader(lambda header, data: data["sub"])
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")


@app.post("/login")
async def login():
    return {"token": create_access_token(request.get_json()["name"])}


@app.get("/who")
@jwt_required()
async def who():
    return current_user


@app.post("/note")
@jwt_required()
async def note():
    return {"user": current_user._get_current_object(), "note": request.get_json()}


@app.get("/pool")
@jwt_required()
async def visit():
    assert current_user == "ann"
    return await pool.visit()
