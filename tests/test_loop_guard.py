"""`LoopGuard` in tests, and whom it names. In servers: `contract/test_loop_guard.py`."""

from __future__ import annotations

import asyncio
import bdb
import importlib
import sys
import threading
import time
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from asyncflask import Flask, render_template, views
from asyncflask.asgi.lifespan import lifespan
from asyncflask.async_testing import AsyncClient
from asyncflask.blocking import Line
from asyncflask.loop_guard import DEBUG_SECONDS, Block, LoopGuard
from asyncflask.typing import ResponseReturnValue

SECONDS = 0.05
BLOCKING = 4 * SECONDS


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.testing = True
    return app


def blocks_of(app: Flask, path: str = "/") -> list[Block]:
    """What is found when the page is asked for. As often as it takes: on a busy machine the guard
    may not come to look."""
    blocks: list[Block] = []
    client = app.test_client()
    with LoopGuard(app, SECONDS, blocks.append).installed():
        deadline = time.monotonic() + 60
        while not blocks and time.monotonic() < deadline:
            client.get(path)
    return blocks


def test_a_block_is_described(app: Flask) -> None:
    @app.get("/slow/<name>")
    async def slow(name: str) -> str:
        time.sleep(BLOCKING)
        return name

    block = blocks_of(app, "/slow/x")[0]
    line = slow.__code__.co_firstlineno + 2
    assert block.who == "view 'slow' (/slow/<name>)"
    assert (block.line.file, block.line.number) == (__file__, line)
    assert block.source == "time.sleep(BLOCKING)"
    assert block.seconds > SECONDS
    file = Path(__file__).resolve()
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    ms = f"{block.seconds * 1000:.0f}"
    assert str(block._replace(waited=0)) == (
        f"View 'slow' (/slow/<name>) blocked the event loop for {ms} ms while no request waited,"
        f" at {shown}:{line} in {slow.__qualname__}: time.sleep(BLOCKING). Write 'await"
        " asyncio.sleep(...)'; or make the function 'def': then it runs on a thread."
    )


def test_a_line_is_logged_once_a_minute(
    app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("asyncflask.loop_guard.time.monotonic", lambda: now)
    guard = LoopGuard(app, SECONDS)
    block = Block("view 'a' (/)", Line("a.py", 3, "a"), "f()", 0.5, 3, "Advice.")
    other = block._replace(line=Line("a.py", 4, "a"))
    for each in (block, other, block):
        guard._log(each)
    now += 59
    guard._log(block)
    assert [record.args for record in caplog.records] == [(block,), (other,)]
    now += 2
    guard._log(block)
    assert caplog.messages[2] == (
        "View 'a' (/) blocked the event loop for 500 ms while 3 requests waited, at a.py:3 in a:"
        " f(). Advice."
    )


def test_in_an_async_test(app: Flask) -> None:
    @app.get("/")
    async def slow() -> str:
        time.sleep(BLOCKING)
        return "x"

    blocks: list[Block] = []

    async def main() -> None:
        async with AsyncClient(app) as client:
            while not blocks:
                await client.get("/")
                await asyncio.sleep(0.01)  # the guard tells when the loop has come round

    with LoopGuard(app, SECONDS, blocks.append).installed():
        asyncio.run(main())
    assert blocks[0].who == "view 'slow' (/)"


def test_many_requests_in_one_step_of_the_loop_are_no_block(app: Flask) -> None:
    @app.get("/")
    async def quick() -> str:
        return "x"

    blocks: list[Block] = []

    async def main() -> None:
        client = AsyncClient(app)
        until = time.monotonic() + BLOCKING
        while time.monotonic() < until:
            await client.get("/")  # nothing in it waits

    with LoopGuard(app, SECONDS, blocks.append).installed(main):
        asyncio.run(main())
    assert [str(block) for block in blocks] == []


def test_a_test_may_block_its_own_loop(app: Flask) -> None:
    app.get("/")(plain)
    blocks: list[Block] = []

    async def main() -> None:
        await AsyncClient(app).get("/")
        time.sleep(BLOCKING)

    with LoopGuard(app, SECONDS, blocks.append).installed(main):
        asyncio.run(main())
    assert [str(block) for block in blocks] == []


class Slow(views.MethodView):
    async def get(self) -> str:
        time.sleep(BLOCKING)
        return "x"


async def slow(*args: Any, **kwargs: Any) -> Any:
    time.sleep(BLOCKING)
    return args[0] if args else "x"


def decorated(func: Any) -> Any:
    @wraps(func)
    async def wrapper(**kwargs: Any) -> Any:
        return await func(**kwargs)

    return wrapper


async def plain() -> str:
    return "x"


@pytest.mark.parametrize(
    ("register", "who"),
    [
        (lambda app: app.add_url_rule("/", "e", Slow.as_view("e")), "view 'e' (/)"),
        (lambda app: app.add_url_rule("/", "e", decorated(slow)), "view 'e' (/)"),
        (lambda app: app.add_url_rule("/", "e", partial(slow)), "view 'e' (/)"),
        (lambda app: app.before_request(slow), "before_request function 'slow'"),
        (lambda app: app.after_request(slow), "after_request function 'slow'"),
        (lambda app: app.teardown_request(slow), "teardown_request function 'slow'"),
        (lambda app: app.teardown_appcontext(slow), "teardown_appcontext function 'slow'"),
        (lambda app: app.url_value_preprocessor(slow), "url_value_preprocessor function 'slow'"),
        (lambda app: app.register_error_handler(404, slow_page), "error handler 'slow_page'"),
    ],
)
def test_names_what_was_registered(app: Flask, register: Any, who: str) -> None:
    register(app)
    if "e" not in app.view_functions:
        app.get("/")(plain)
    assert blocks_of(app, "/missing" if who.startswith("error") else "/")[0].who == who


async def slow_page(error: Exception) -> ResponseReturnValue:
    time.sleep(BLOCKING)
    return "nothing", 404


def test_of_a_template_the_line_of_the_template(tmp_path: Path) -> None:
    app = Flask(__name__, template_folder=str(tmp_path))
    (tmp_path / "page.html").write_text("one\n\n{{ sleep(0.2) }}\n")
    app.jinja_env.globals["sleep"] = time.sleep

    @app.get("/")
    async def page() -> str:
        return render_template("page.html")

    block = blocks_of(app)[0]
    assert block.who == "view 'page' (/)"
    assert (block.line.file, block.line.number) == (str(tmp_path / "page.html"), 3)
    assert block.source == "{{ sleep(0.2) }}"


def nothing_is_found(app: Flask, *paths: str) -> None:
    blocks: list[Block] = []
    with LoopGuard(app, SECONDS, blocks.append).installed():
        client = app.test_client()
        for path in paths or ["/"]:
            client.get(path)
    assert [str(block) for block in blocks] == []


def test_a_sync_view_is_free_to_wait(app: Flask) -> None:
    @app.get("/")
    def slow() -> str:
        time.sleep(BLOCKING)
        return "x"

    nothing_is_found(app)


def test_an_import_may_take_its_time(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "takes_long_to_import.py").write_text("import time\ntime.sleep(0.3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "takes_long_to_import", raising=False)

    @app.get("/")
    async def index() -> str:
        importlib.import_module("takes_long_to_import")
        return "x"

    nothing_is_found(app)


def test_a_breakpoint_may_take_its_time(app: Flask) -> None:
    stopped = threading.Event()

    class Debugger(bdb.Bdb):
        def user_line(self, frame: object) -> None:
            stopped.set()
            time.sleep(BLOCKING)
            self.set_continue()

    @app.get("/")
    async def index() -> str:
        Debugger().set_trace()
        return "x"

    nothing_is_found(app)
    assert stopped.is_set()


# -- when it is on


@pytest.mark.parametrize(
    ("config", "debug", "seconds"),
    [
        (None, False, None),
        (None, True, DEBUG_SECONDS),
        (0, True, None),
        (False, True, None),
        (0.5, False, 0.5),
        (0.5, True, 0.5),
    ],
)
def test_the_config_says(
    app: Flask, config: float | None, debug: bool, seconds: float | None
) -> None:
    app.config["LOOP_GUARD"] = config
    app.debug = debug
    guard = LoopGuard.of_config(app)
    assert (guard and guard._seconds) == seconds


def test_nonsense_in_the_config_is_an_error(app: Flask) -> None:
    app.config["LOOP_GUARD"] = -1
    with pytest.raises(
        ValueError, match="LOOP_GUARD must be a number of seconds above 0, or None, not -1"
    ):
        LoopGuard.of_config(app)


def watchdogs() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "watchdog" in thread.name]


@pytest.mark.parametrize("debug", [True, False])
async def test_from_the_start_of_the_app_to_its_end(app: Flask, debug: bool) -> None:
    app.debug = debug
    assert not watchdogs()
    async with lifespan(app):
        assert len(watchdogs()) == debug
        assert (app._loop_guard is not None) == debug
        # Requests take the shortest way when it is off.
        assert (app._setup().direct is None) == debug
    assert not watchdogs()
    assert app._loop_guard is None
    assert app._setup().direct == "http"


async def test_one_guard_for_mounted_apps_too(app: Flask) -> None:
    inner = Flask("inner")
    inner.debug = app.debug = True
    app.mount("/inner", inner)
    async with lifespan(app):
        assert len(watchdogs()) == 1
    assert not watchdogs()
