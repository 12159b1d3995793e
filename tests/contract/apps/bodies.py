"""Sync and async views, with and without a sync decorator."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asyncflask import Blueprint, Flask, current_app, request

app = Flask(__name__)
hooked = Blueprint("hooked", __name__, url_prefix="/hooked")


def sync_decorator(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def wrapper(**values: Any) -> Any:
        return view(**values)

    return wrapper


def by_ensure_sync(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def wrapper(**values: Any) -> Any:
        return current_app.ensure_sync(view)(**values)

    return wrapper


def reading() -> bytes:
    return request.get_data()


async def async_reading() -> bytes:
    return request.get_data()


def not_reading() -> str:
    return "unread"


async def async_not_reading() -> str:
    return "unread"


for name, decorate in (
    ("bare", lambda view: view),
    ("wrapped", sync_decorator),
    ("ensured", by_ensure_sync),
):
    for view in (reading, async_reading, not_reading, async_not_reading):
        path = f"/{name}/{view.__name__}"
        endpoint = f"{name}_{view.__name__}"
        for where in (app, hooked):
            where.add_url_rule(path, endpoint, decorate(view), methods=["GET", "POST"])


@hooked.before_request
def before() -> None:
    request.get_data()


app.register_blueprint(hooked)
