"""Tells the open pages that the list has changed."""

from asyncflask import Blueprint, abort, websocket
from asyncflask.rooms import Rooms
from flask_login import current_user

bp = Blueprint("live", __name__)
rooms = Rooms()


@bp.websocket("/live")
async def live():
    if not current_user.is_authenticated:
        abort(401)
    async with rooms.join("board"):
        async for _ in websocket:
            pass  # a page has nothing to say


def changed():
    rooms.send("board", {"changed": True}, keep=False)
