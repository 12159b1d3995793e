"""Flask-WTF in sync and async views: forms, files and CSRF."""

from __future__ import annotations

import asyncio
import re

import pytest
from flask import render_template_string
from flask_wtf import CSRFProtect, FlaskForm
from wtforms import StringField
from wtforms.validators import Length


class NameForm(FlaskForm):
    name = StringField(validators=[Length(min=2)])


@pytest.fixture
def door(app, open_door):
    CSRFProtect(app)

    def answer():
        form = NameForm()
        if form.validate_on_submit():
            return f"Hello {form.name.data}"
        return render_template_string("{{ form.csrf_token }} {{ form.errors }}", form=form)

    @app.route("/plain", methods=["GET", "POST"])
    def plain():
        return answer()

    @app.route("/async", methods=["GET", "POST"])
    async def asynchronous():
        await asyncio.sleep(0)
        return answer()

    return open_door(app)


def token(answer):
    return re.search('value="([^"]+)"', answer.text)[1]


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_valid(door, path):
    data = {"name": "Ann", "csrf_token": token(door(path))}
    assert door(path, "POST", data=data).text == "Hello Ann"


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_invalid(door, path):
    data = {"name": "A", "csrf_token": token(door(path))}
    assert "at least 2 characters" in door(path, "POST", data=data).text


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_without_the_token(door, path):
    answer = door(path, "POST", data={"name": "Ann"})
    assert answer.status == 400 and "CSRF" in answer.text


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_token_in_a_header(door, path):
    headers = {"X-CSRFToken": token(door(path))}
    assert door(path, "POST", json={"name": "Ann"}, headers=headers).status == 200


# -- served, with cookies and files


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_served(site, path):
    fields = {"title": "Lake", "csrf_token": token(site.get(path))}
    photo = {"photo": ("lake.png", b"x" * 200_000)}
    assert site.post(path, data=fields, files=photo).text == "Lake: 200000 bytes"
    assert "photo: PNG only" in site.post(path, data=fields, files={"photo": ("l.gif", b"x")}).text
    assert (
        "title: Field cannot be longer" in site.post(path, data={**fields, "title": "L" * 11}).text
    )


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_served_without_the_token(site, path):
    fields = {"title": "Lake", "csrf_token": token(site.get(path))}
    site.client.cookies.clear()  # the token is of a session that is no more
    assert site.post(path, data=fields).status_code == 400
    assert site.post("/hook", json={"exempt": True}).json() == {"got": {"exempt": True}}


def test_served_with_a_pool(site):
    headers = {"X-CSRFToken": token(site.get("/plain"))}
    assert site.post("/pool").status_code == 400
    site.visit_pool("/pool", method="POST", headers=headers)
