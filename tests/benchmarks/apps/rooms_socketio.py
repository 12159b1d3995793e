"""One room: who sends, sends to all. With python-socketio alone."""

import socketio

HOURS = 3600

server = socketio.AsyncServer(async_mode="asgi", ping_interval=HOURS)
app = socketio.ASGIApp(server)


@server.event
async def connect(sid, environ):
    await server.enter_room(sid, "lobby")


@server.event
async def message(sid, data):
    await server.emit("message", data, room="lobby")
