"""Tells the team's chat what is new."""

import httpx
from asyncflask import current_app


def notify(text):
    """Send *text* to the chat, after the response."""
    if current_app.config.get("WEBHOOK_URL"):
        current_app.add_background_task(_send, text)


async def _send(text):
    async with httpx.AsyncClient(timeout=10) as client:
        response = await client.post(current_app.config["WEBHOOK_URL"], json={"text": text})
        response.raise_for_status()
