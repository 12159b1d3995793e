"""Bootstrap-Flask has no tests in its release: its macros, its files, and both in sync and async
views. The streamed files are what its own tests ask for inside of contexts."""

from __future__ import annotations

import asyncio

import pytest
from flask import flash, render_template_string, request
from flask_bootstrap import Bootstrap5
from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import DataRequired

PAGE = """{% from 'bootstrap5/form.html' import render_form %}
{% from 'bootstrap5/utils.html' import render_messages %}
{% from 'bootstrap5/nav.html' import render_nav_item %}
{{ bootstrap.load_css() }}{{ render_messages() }}{{ render_nav_item('index', 'Home') }}
{{ render_form(form) }}"""


class NameForm(FlaskForm):
    name = StringField("Name", validators=[DataRequired()])


@pytest.fixture
def bootstrapped(app):
    app.config.update(BOOTSTRAP_SERVE_LOCAL=True, WTF_CSRF_ENABLED=False)
    Bootstrap5(app)
    app.add_url_rule("/", "index", lambda: "")

    def page():
        form = NameForm()
        if form.validate_on_submit():
            flash(f"Hello {form.name.data}", "success")
        return render_template_string(PAGE, form=form)

    @app.route("/sync", methods=["GET", "POST"])
    def sync_view():
        return page()

    @app.route("/async", methods=["GET", "POST"])
    async def async_view():
        await asyncio.sleep(0)
        return page()

    return app


@pytest.fixture
def door(bootstrapped, open_door):
    return open_door(bootstrapped)


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_macros(door, path):
    answer = door(path)
    assert answer.status == 200
    assert '<a class="nav-item nav-link"' in answer.text
    assert 'href="/bootstrap/static/' in answer.text
    assert "invalid-feedback" in door(path, "POST", data={"name": ""}).text
    assert "Hello you" in door(path, "POST", data={"name": "you"}).text


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_files(door, path):
    link = door(path).text.partition('href="')[2].partition('"')[0]
    answer = door(link)
    assert answer.status == 200
    assert "Bootstrap" in answer.text


def test_files_inside_of_contexts(bootstrapped):
    with bootstrapped.test_request_context(), bootstrapped.test_client() as client:
        link = client.get("/sync").text.partition('href="')[2].partition('"')[0]
        response = client.get(link)
        assert response.status_code == 200
        assert request.path == link
        assert "Bootstrap" in response.text
