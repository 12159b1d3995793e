"""The small views in Falcon's ASGI app, which has no sync ones and no templates."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from functools import partial

import falcon
import falcon.asgi
from common import CHUNK, CHUNKS, ROUTES, WAIT_SECONDS
from falcon import WebSocketDisconnected
from falcon.asgi import Request, Response, WebSocket


class Text:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "Hello, World!"


class Echo:
    async def on_post(self, req: Request, resp: Response) -> None:
        resp.media = await req.get_media()


class Form:
    async def on_post(self, req: Request, resp: Response) -> None:
        data = await req.get_media()
        resp.media = {"age": int(data["age"]), "name": data["name"]}


class Upload:
    async def on_post(self, req: Request, resp: Response) -> None:
        answer = {"name": None, "size": 0, "title": None}
        async for part in await req.get_media():
            if part.name == "title":
                answer["title"] = await part.text
            else:
                answer["name"] = part.filename
                async for chunk in part.stream:
                    answer["size"] += len(chunk)
        resp.media = answer


class Stream:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = self.chunks()

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK


class Wait:
    async def on_get(self, req: Request, resp: Response) -> None:
        await asyncio.sleep(WAIT_SECONDS)
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "Hello, World!"


class Item:
    async def on_get(self, req: Request, resp: Response, id: int) -> None:
        page, q = req.get_param_as_int("page"), req.get_param("q")
        resp.media = {"id": id, "page": page, "q": q}


class EchoWebSocket:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except WebSocketDisconnected:
            pass


app = falcon.asgi.App()
compact = falcon.media.JSONHandler(dumps=partial(json.dumps, separators=(",", ":")))
app.req_options.media_handlers[falcon.MEDIA_JSON] = compact
app.resp_options.media_handlers[falcon.MEDIA_JSON] = compact
app.add_route("/async", Text())
app.add_route("/echo", Echo())
app.add_route("/form", Form())
app.add_route("/upload", Upload())
app.add_route("/stream/async", Stream())
app.add_route("/wait/async", Wait())
for number in range(ROUTES):
    app.add_route(f"/items{number}/{{id:int}}", Item())
app.add_route("/ws", EchoWebSocket())
app.add_static_route("/", os.path.abspath(os.environ.get("BENCH_FILES", ".")))
