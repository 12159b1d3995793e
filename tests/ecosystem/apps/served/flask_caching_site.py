"""Flask-Caching round a view that uses what belongs to the server's loop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from flask import Flask
from flask_caching import Cache
from pool import Pool

app = Flask(__name__)
app.config["CACHE_TYPE"] = "SimpleCache"
cache = Cache(app)
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")
calls = []


@app.get("/called")
@cache.cached()
async def called():
    await asyncio.sleep(0)
    calls.append(1)
    return str(len(calls))


@app.get("/pool")
@cache.cached(query_string=True)
async def visit():
    return await pool.visit()
