"""Who is here, and what they say: Socket.IO with sync and async handlers."""

import os
from typing import Any

from asyncflask import Flask, Response, render_template, request
from asyncflask.socketio import SocketIO, emit

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "only for trying it out")
socketio = SocketIO(app)
names: dict[str, str] = {}


@app.get("/")
def index() -> str:
    return render_template("index.html")


@app.after_request
def only_our_own(response: Response) -> Response:
    """The page loads nothing from elsewhere: Socket.IO's script is in our own static folder."""
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    return response


@app.post("/announce")
async def announce() -> dict[str, Any]:
    """From outside: curl -d text=hello http://127.0.0.1:8000/announce"""
    await socketio.emit("said", {"name": "the server", "text": request.form["text"]})
    return {"listeners": len(names)}


@socketio.on("join")
def join(name: str) -> list[str]:
    names[request.sid] = name[:24]  # type: ignore[attr-defined]
    emit("here", sorted(names.values()), broadcast=True)
    return sorted(names.values())


@socketio.on("say")
async def say(text: str) -> str:
    name = names.get(request.sid, "somebody")  # type: ignore[attr-defined]
    await emit("said", {"name": name, "text": text[:1000]}, broadcast=True)
    return "sent"


@socketio.on("disconnect")
def left(reason: str) -> None:
    names.pop(request.sid, None)  # type: ignore[attr-defined]
    emit("here", sorted(names.values()), broadcast=True)
