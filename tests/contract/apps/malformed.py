"""Views that read everything a client sent, and send it back."""

from __future__ import annotations

from typing import Any

from asyncflask import Flask, request, session, url_for, websocket

app = Flask(__name__)
app.secret_key = "malformed"
app.config["SESSION_COOKIE_NAME"] = "session"


def look() -> dict[str, Any]:
    return {
        "args": request.args.to_dict(flat=False),
        "values": request.values.to_dict(flat=False),
        "form": request.form.to_dict(flat=False),
        "files": {name: file.filename for name, file in request.files.items()},
        "cookies": dict(request.cookies),
        "headers": dict(request.headers),
        "environ": {name for name in request.environ if name.startswith("HTTP_")}.__len__(),
        "host": request.host,
        "url": request.url,
        "base_url": request.base_url,
        "full_path": request.full_path,
        "root_url": request.root_url,
        "user_agent": str(request.user_agent),
        "accept": [str(request.accept_mimetypes), request.accept_mimetypes.best],
        "languages": [str(request.accept_languages), str(request.accept_charsets)],
        "encodings": str(request.accept_encodings),
        "json?": request.accept_mimetypes.accept_json,
        "authorization": repr(request.authorization),
        "range": str(request.range),
        "if_range": str(request.if_range),
        "since": str(request.if_modified_since),
        "match": [str(request.if_match), str(request.if_none_match)],
        "cache": str(request.cache_control),
        "length": request.content_length,
        "mimetype": [request.mimetype, request.mimetype_params],
        "date": str(request.date),
        "referrer": request.referrer,
        "pragma": str(request.pragma),
        "route": list(request.access_route),
        "session": dict(session),
        "here": url_for("sync", _external=True),
    }


@app.route("/sync", methods=["GET", "POST"])
def sync() -> Any:
    return look()


@app.route("/async", methods=["GET", "POST"])
async def async_() -> Any:
    return look()


@app.route("/stream")
def stream() -> Any:
    return iter(["a", "b"])


@app.route("/path/<path:rest>")
async def path(rest: str) -> Any:
    return {"rest": rest, "path": request.path, "url": request.url}


@app.route("/slash/")
def slash() -> str:
    return "slash"


@app.post("/json/sync")
def json_sync() -> Any:
    return {"json": request.get_json()}


@app.post("/json/async")
async def json_async() -> Any:
    return {"json": request.get_json()}


@app.post("/data")
async def data() -> str:
    return request.get_data(as_text=True)


@app.get("/surrogate")
async def surrogate() -> Any:
    return {"text": "a\ud800b", "\udfff": ["\udc80"]}


@app.websocket("/ws")
async def ws() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket("/ws/never")
def never() -> None:
    """Closes without a handshake."""
    websocket.sync.close()


@app.websocket("/ws/json")
async def ws_json() -> None:
    while True:
        try:
            await websocket.send_json({"json": await websocket.receive_json()})
        except ValueError:
            await websocket.send("no JSON")


@app.route("/plain")
def plain() -> str:
    return "fine"
