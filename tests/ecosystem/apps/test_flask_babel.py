"""Flask-Babel has no tests in its release."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from babel.messages import mofile
from babel.messages.catalog import Catalog
from flask import render_template_string, request
from flask_babel import (
    Babel,
    force_locale,
    format_datetime,
    format_decimal,
    get_locale,
    gettext,
    lazy_gettext,
    refresh,
)

LATER = lazy_gettext("Hello")
NOON = datetime.datetime(2026, 1, 2, 12, 0)


@pytest.fixture
def door(app, open_door, tmp_path):
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    catalog = Catalog(locale="de")
    catalog.add("Hello", "Hallo")
    with (folder / "messages.mo").open("wb") as file:
        mofile.write_mo(file, catalog)
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(tmp_path)
    Babel(
        app,
        locale_selector=lambda: request.args.get("lang", "en"),
        timezone_selector=lambda: request.args.get("zone"),
    )

    def texts():
        template = render_template_string("{{ _('Hello') }} {{ 1234.5|numberformat }}")
        return [gettext("Hello"), str(LATER), template, str(get_locale())]

    @app.get("/plain")
    def plain():
        return texts()

    @app.get("/async")
    async def asynchronous():
        await asyncio.sleep(0)
        return texts()

    @app.get("/forced/plain")
    def forced():
        with force_locale("de"):
            inside = gettext("Hello")
        return [inside, gettext("Hello")]

    @app.get("/forced/async")
    async def forced_asynchronous():
        with force_locale("de"):
            await asyncio.sleep(0)
            inside = gettext("Hello")
        return [inside, gettext("Hello")]

    @app.get("/time/plain")
    def time():
        return [format_datetime(NOON, "HH:mm"), format_decimal(1234.5)]

    @app.get("/time/async")
    async def time_asynchronous():
        refresh()
        return [format_datetime(NOON, "HH:mm"), format_decimal(1234.5)]

    return open_door(app)


def values(answer):
    assert answer.status == 200
    return answer.text.strip().strip("[]").replace('"', "").replace("\n", "").replace("  ", "")


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_translated(door, path):
    assert values(door(path)) == "Hello,Hello,Hello 1,234.5,en"
    assert values(door(f"{path}?lang=de")) == "Hallo,Hallo,Hallo 1.234,5,de"
    assert values(door(path)) == "Hello,Hello,Hello 1,234.5,en"


@pytest.mark.parametrize("path", ["/forced/plain", "/forced/async"])
def test_forced(door, path):
    assert values(door(path)) == "Hallo,Hello"


@pytest.mark.parametrize("path", ["/time/plain", "/time/async"])
def test_time_zone(door, path):
    assert values(door(f"{path}?zone=Asia/Tokyo&lang=de")) == "21:00,1.234,5"


def test_outside_of_a_request(door):
    assert get_locale() is None
    assert gettext("Hello") == "Hello"
