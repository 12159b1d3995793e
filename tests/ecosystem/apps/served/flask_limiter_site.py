"""Flask-Limiter round a view that uses what belongs to the server's loop."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from pool import Pool

app = Flask(__name__)
limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")


@app.get("/limited")
@limiter.limit("3 per hour")
async def limited():
    return "let in"


@app.get("/pool")
@limiter.limit("20 per hour")
async def visit():
    return await pool.visit()
