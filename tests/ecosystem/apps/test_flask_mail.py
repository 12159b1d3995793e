"""Flask-Mail has no tests in its release."""

from __future__ import annotations

import asyncio
import smtplib

import pytest
from flask import current_app, render_template_string
from flask_mail import Mail, Message, email_dispatched


@pytest.fixture
def mail(app):
    app.config["MAIL_DEFAULT_SENDER"] = "us@example.com"
    mail = Mail(app)

    def message(name):
        body = render_template_string("Dear {{ name }}", name=name)
        return Message("Hello", recipients=[f"{name}@example.com"], body=body)

    @app.post("/plain/<name>")
    def plain(name):
        mail.send(message(name))
        return "sent"

    @app.post("/async/<name>")
    async def asynchronous(name):
        await asyncio.sleep(0)
        mail.send(message(name))
        return "sent"

    @app.post("/many")
    async def many():
        with mail.connect() as connection:
            for name in ("a", "b"):
                connection.send(message(name))
        return "sent"

    return mail


@pytest.mark.parametrize("path", ["/plain/ann", "/async/ann"])
def test_recorded(app, mail, open_door, path):
    with mail.record_messages() as outbox:
        assert open_door(app)(path, "POST").text == "sent"
    assert [(m.recipients, m.sender, m.body) for m in outbox] == [
        (["ann@example.com"], "us@example.com", "Dear ann")
    ]


@pytest.mark.parametrize("path", ["/plain/ann", "/async/ann"])
def test_signal_comes_from_the_app(app, mail, open_door, path):
    senders = []

    def receive(sender, message):
        senders.append((sender, current_app._get_current_object()))

    with email_dispatched.connected_to(receive, sender=app):
        open_door(app)(path, "POST")
    assert senders == [(app, app)]


def test_one_connection_for_many(app, mail, open_door):
    with mail.record_messages() as outbox:
        open_door(app)("/many", "POST")
    assert [message.body for message in outbox] == ["Dear a", "Dear b"]


@pytest.mark.parametrize("path", ["/plain/ann", "/async/ann"])
def test_sent_by_smtp(app, mail, open_door, path, monkeypatch):
    sent = []

    class SMTP:
        def __init__(self, *args):
            pass

        def set_debuglevel(self, level):
            pass

        def sendmail(self, sender, to, data, *options):
            sent.append((sender, list(to), b"Dear ann" in bytes(data)))

        def quit(self):
            pass

    monkeypatch.setattr(smtplib, "SMTP", SMTP)
    mail.state.suppress = False
    app.extensions["mail"].suppress = False
    assert open_door(app)(path, "POST").status == 200
    assert sent == [("us@example.com", ["ann@example.com"], True)]
