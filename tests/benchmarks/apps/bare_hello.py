"""The least app: a bare ASGI callable."""

from bare_app import app as app
