"""Flask's tutorial, served: one visitor's way through it, by links and forms."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest
from serving import WAYS, served

RELEASE = Path(__file__).parents[3] / "build" / "ecosystem" / "flask" / "flask-3.1.3"
TUTORIAL = RELEASE / "examples" / "tutorial"


@pytest.fixture(scope="module", params=WAYS)
def server(request, tmp_path_factory):
    instance = TUTORIAL / "instance"
    instance.mkdir(exist_ok=True)
    (instance / "flaskr.sqlite").unlink(missing_ok=True)
    with sqlite3.connect(instance / "flaskr.sqlite") as database:
        database.executescript((TUTORIAL / "flaskr" / "schema.sql").read_text())
    with served(request.param, "flaskr:create_app()", folder=TUTORIAL) as server:
        yield server


def test_a_visit(server):
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=30) as client:
        assert "Log In" in client.get("/").text
        assert client.get("/create").url.path == "/auth/login"
        who = {"username": "ada", "password": "secret"}
        assert client.post("/auth/register", data=who).url.path == "/auth/login"
        assert "already registered" in client.post("/auth/register", data=who).text
        wrong = {**who, "password": "guess"}
        assert "Incorrect password." in client.post("/auth/login", data=wrong).text
        assert "Log Out" in client.post("/auth/login", data=who).text
        assert "Title is required." in client.post("/create", data={"title": "", "body": ""}).text
        page = client.post("/create", data={"title": "Ünicode", "body": "one\ntwo"}).text
        assert "Ünicode" in page
        assert client.post("/1/update", data={"title": "t", "body": "b"}).status_code == 200
        assert client.get("/2/update").status_code == 404
        assert "Ünicode" not in client.post("/1/delete").text
        assert "Log In" in client.get("/auth/logout").text
