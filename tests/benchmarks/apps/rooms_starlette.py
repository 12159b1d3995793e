"""One room: who sends, sends to all. With Starlette alone."""

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

clients = set()


async def ws(websocket):
    await websocket.accept()
    clients.add(websocket)
    try:
        async for message in websocket.iter_text():
            for client in list(clients):
                await client.send_text(message)
    finally:
        clients.discard(websocket)


app = Starlette(routes=[WebSocketRoute("/ws", ws)])
