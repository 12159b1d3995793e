"""Views whose clients leave: `app` lets them finish, `cancelling` cancels them."""

from __future__ import annotations

import asyncio
import time

from asyncflask import Flask, request, run_sync
from contract.apps.diary import write


def create(cancel: bool) -> Flask:
    app = Flask(__name__)
    app.config["CANCEL_ON_DISCONNECT"] = cancel

    async def wait() -> str:
        request_id = request.args["id"]
        write(request_id, "began")
        try:
            await asyncio.sleep(float(request.args["wait"]))
        except asyncio.CancelledError:
            write(request_id, "cancelled")
            raise
        write(request_id, "ended")
        return "done"

    app.add_url_rule("/async", "async", wait, methods=["GET", "POST"])
    app.add_url_rule("/cancel", "cancel", wait, cancel_on_disconnect=True, methods=["GET", "POST"])
    app.add_url_rule("/never", "never", wait, cancel_on_disconnect=False)

    def wait_sync() -> str:
        request_id = request.args["id"]
        write(request_id, "began")
        time.sleep(float(request.args["wait"]))
        write(request_id, "ended")
        return "done"

    app.add_url_rule("/sync", "sync", wait_sync)
    app.add_url_rule("/cancel/sync", "cancel-sync", wait_sync, cancel_on_disconnect=True)

    @app.get("/cancel/thread", cancel_on_disconnect=True)
    async def thread() -> str:
        return str(await run_sync(wait_sync))

    @app.route("/ask", methods=["GET", "POST"])
    async def ask() -> str:
        write(request.args["id"], "began")
        while not await request.is_disconnected():
            await asyncio.sleep(0.02)
        write(request.args["id"], "ended")
        return "nobody"

    @app.route("/connected", methods=["GET", "POST"])
    async def connected() -> dict[str, object]:
        return {
            "gone": [await request.is_disconnected() for _ in range(3)],
            "length": len(request.get_data()),
        }

    return app


app = create(False)
cancelling = create(True)
