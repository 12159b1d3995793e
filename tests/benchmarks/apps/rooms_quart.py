"""One room: who sends, sends to all. With Quart."""

from quart import Quart, websocket

app = Quart(__name__)
clients = set()


@app.websocket("/ws")
async def ws():
    me = websocket._get_current_object()
    await me.accept()
    clients.add(me)
    try:
        while True:
            message = await websocket.receive()
            for client in list(clients):
                await client.send(message)
    finally:
        clients.discard(me)
