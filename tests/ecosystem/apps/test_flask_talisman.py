"""Flask-Talisman behind sync and async views."""

from __future__ import annotations

import asyncio

import pytest
from flask import render_template_string
from flask_talisman import Talisman


@pytest.fixture
def door(app, open_door):
    policy = {"default-src": "'self'", "script-src": "'self'"}
    talisman = Talisman(
        app,
        force_https=False,
        content_security_policy=policy,
        content_security_policy_nonce_in=["script-src"],
    )

    @app.get("/plain")
    def plain():
        return render_template_string("{{ csp_nonce() }}")

    @app.get("/async")
    async def asynchronous():
        await asyncio.sleep(0)
        return render_template_string("{{ csp_nonce() }}")

    @app.get("/framed")
    @talisman(frame_options="DENY")
    async def framed():
        await asyncio.sleep(0)
        return "framed"

    return open_door(app)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_policy(door, path):
    answer = door(path)
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert f"'nonce-{answer.text}'" in answer.headers["Content-Security-Policy"]
    assert door(path).text != answer.text


def test_of_one_view(door):
    assert door("/framed").headers["X-Frame-Options"] == "DENY"
