"""Flask-HTTPAuth, with an async check: both use what belongs to the server's loop."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask
from flask_httpauth import HTTPBasicAuth
from pool import Pool

app = Flask(__name__)
auth = HTTPBasicAuth()
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")


@auth.verify_password
async def verify(name, password):
    if hasattr(pool, "loop"):  # under Flask it is not open
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
    return name if password == "secret" else None


@app.get("/who")
@auth.login_required
async def who():
    return auth.current_user()


@app.get("/pool")
@auth.login_required
async def visit():
    return await pool.visit()
