"""Sending a response: its head, which `head.py` has checked, and its content, whole or with
`streams.py`."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Final

from starlette.types import Message, Send

from .body import Body
from .conversation import Conversation, Conversations
from .streams import Blocks, send_async_chunks, send_blocks, send_chunks
from .threads import Driver

ENDING: Final = frozenset({408, 413})
"""Statuses that close the connection: the rest of such a request is not read (RFC 9110 sections
15.5.9 and 15.5.14), so it is unknown where the next one begins."""


class SelfSent:
    """A body that sends itself, since it sends more than its chunks."""

    async def send_all(
        self,
        driver: Driver,
        send: Send,
        body: Body,
        conversations: Conversations,
        start: Message | None,
    ) -> None:
        """Send the message *start*, unless it was already sent, and this body."""
        raise NotImplementedError


async def send_response(
    driver: Driver,
    send: Send,
    body: Body,
    conversations: Conversations,
    start: Message | None,
    content: bytes | Iterable[bytes] | AsyncIterable[bytes],
) -> None:
    """Send a response: the message *start*, unless it was already sent, and *content*, bytes or
    chunk by chunk (see `streams.py`). Stops when the client leaves. Sync iterables run on the
    request's thread; the caller closes them."""
    await driver.to_loop()
    if start is not None:
        if start["status"] in ENDING and body.closable:
            start = {**start, "headers": [*start["headers"], (b"connection", b"close")]}
        await send(start)
    if isinstance(content, bytes):
        await send({"type": "http.response.body", "body": content})
        return
    async with Conversation(conversations, body.gone_unread) as conversation:
        if isinstance(content, AsyncIterable):
            await send_async_chunks(send, body, content)
        elif isinstance(content, Blocks):
            await send_blocks(driver, send, body, content)
        else:
            await send_chunks(driver, send, body, content)
    # A response cut short at shutdown must not look complete.
    if conversation.ended is None:
        await send({"type": "http.response.body", "body": b""})
