"""One room: who sends, sends to all. With asyncflask's rooms."""

from asyncflask import Flask, websocket
from asyncflask.rooms import Rooms

app = Flask(__name__)
rooms = Rooms(app)


@app.websocket("/ws")
async def ws():
    async with rooms.join("lobby"):
        async for message in websocket:
            await rooms.send("lobby", message)
