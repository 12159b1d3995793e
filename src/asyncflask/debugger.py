"""The interactive debugger of debug mode: Werkzeug's `werkzeug.debug`, as ASGI middleware.

Werkzeug provides pages, frames, consoles, the PIN and trusted hosts. This file connects it: it
passes on the exceptions of requests, streams, WebSockets and the lifespan, and sends the pages;
gives consoles the request of their frame, and `await`; and folds asyncflask's own frames.
Whoever gets into a console can run any code, so this file is only imported if the debugger is
requested.
"""

from __future__ import annotations

import ast
import inspect
import logging
import os
import re
from codeop import CommandCompiler
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from traceback import TracebackException
from types import CodeType
from typing import Any, Final
from urllib.parse import urlencode

from markupsafe import escape
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.debug import DebuggedApplication
from werkzeug.debug.console import Console, _InteractiveConsole
from werkzeug.debug.tbtools import DebugFrameSummary, DebugTraceback, _process_traceback
from werkzeug.exceptions import HTTPException, NotFound, SecurityError
from werkzeug.utils import cached_property
from werkzeug.wrappers import Request, Response

from .app_context import _cv_app, _cv_request
from .asgi.body import Body
from .asgi.environ import SCHEMES, Environ, environ_from_scope
from .asgi.scope import route_path
from .asgi.threads import run_in_worker
from .asgi.waiting import wait
from .contexts import RequestContext
from .teardown import KEEP_CONTEXT

KEPT_TRACEBACKS: Final = 20
"""How many tracebacks are kept for their pages. Each keeps the objects that its frames'
variables refer to."""

QUERY: Final = b"__debugger__=yes"
"""Part of the query string in the debugger's own URLs."""

_IPV6_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\])(?::\d+)?")

_OWN_FILES: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


# -- a console ------------------------------------------------------------------------------


class _Interpreter(_InteractiveConsole):
    """Werkzeug's interpreter, with `await`, `async for` and `async with` at the top level,
    which run on the app's loop."""

    def __init__(self, globals: dict[str, Any], locals: dict[str, Any]) -> None:
        super().__init__(globals, locals)
        compiler = CommandCompiler()
        compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

        def compile(source: str, filename: str, symbol: str) -> CodeType | None:
            code = compiler(source, filename, symbol)
            if code is not None:
                self.loader.register(code, source)
            return code

        self.compile = compile  # type: ignore[assignment]

    def runcode(self, code: CodeType) -> None:
        """Run an input that is complete."""
        try:
            if code.co_flags & inspect.CO_COROUTINE:
                wait(eval(code, self.locals))
            else:
                exec(code, self.locals)
        except SystemExit:
            self.write("The server keeps running: press Ctrl-C in its terminal to stop it.\n")
        except BaseException as error:  # including CancelledError
            # Without the frames that wait for the user's.
            tb = error.__traceback__
            while tb is not None and tb.tb_frame.f_code is not code:
                tb = tb.tb_next
            self._show(error.with_traceback(tb))

    def showsyntaxerror(self, filename: str | None = None, **more: object) -> None:
        """Like Werkzeug's, which does not accept the arguments of Python 3.13."""
        super().showsyntaxerror(filename)

    def _show(self, error: BaseException) -> None:
        try:
            raise error
        except BaseException:
            self.showtraceback()


def _console(globals: dict[str, Any], locals: dict[str, Any]) -> Console:
    console = Console()
    console._ipy = _Interpreter(globals, locals)
    return console


class _Shell:
    """The console of the app, which belongs to no frame."""

    def __init__(self, names: dict[str, Any], context: Context) -> None:
        self._console = _console({}, names)
        self._context = context

    def eval(self, code: str) -> str:
        return self._context.copy().run(self._console.eval, code)


class _Frame(DebugFrameSummary):
    """A frame with its request's context."""

    __slots__ = ("context",)

    context: Context

    @classmethod
    def of(cls, frame: DebugFrameSummary, context: Context) -> _Frame:
        self = cls(
            filename=frame.filename,
            lineno=frame.lineno,
            name=frame.name,
            locals=frame.local_ns,
            globals=frame.global_ns,
            colno=frame.colno,
            end_colno=frame.end_colno,
        )
        self.context = context
        return self

    @cached_property
    def console(self) -> Console:
        return _console(self.global_ns, self.local_ns)

    def eval(self, code: str) -> Any:
        return self.context.copy().run(super().eval, code)


# -- a traceback ----------------------------------------------------------------------------

GetContext = Callable[[RequestContext | None], Context]


class _Traceback(DebugTraceback):
    """An exception with its causes. *fold*: leave out asyncflask's own frames."""

    __slots__ = ("folded", "unfolded_url")

    def __init__(self, error: BaseException, context_of: GetContext, *, fold: bool) -> None:
        super().__init__(error, skip=1)  # skips the frame that caught it
        _process_groups(error, self._te)
        _give_contexts(self._te, context_of, None)
        self.folded = _fold(self._te) if fold else 0
        self.unfolded_url = ""

    @cached_property
    def all_tracebacks(self) -> list[tuple[str | None, TracebackException]]:
        """The exceptions in the reverse order of the page: those of a group, then Werkzeug's."""
        inner = list(_exceptions_of(self._te))
        return [*reversed(inner), *super().all_tracebacks]

    @property
    def template_frame(self) -> DebugFrameSummary | None:
        """The innermost frame that is in a Jinja template."""
        frames: Iterable[Any] = reversed(self._te.stack)
        return next((f for f in frames if "__jinja_exception__" in f.global_ns), None)

    def render_traceback_html(self, include_title: bool = True) -> str:
        html = super().render_traceback_html(include_title)
        frame = self.template_frame
        if frame is not None:
            html = (
                f'<p class="template">In the template <a href="#frame-{id(frame)}">'
                f"<cite>{escape(frame.filename)}</cite>, line {frame.lineno}</a>:"
                f" <code>{escape(frame.line or '')}</code></p>{html}"
            )
        if self.folded:
            html += (
                f'<p class="folded">{self.folded} frames of asyncflask itself are folded:'
                f' <a href="{escape(self.unfolded_url)}">show all frames</a>.</p>'
            )
        return html


def _process_groups(error: BaseException, te: TracebackException) -> None:
    """Convert the frames of a group's exceptions to Werkzeug's, which does not do it."""
    if isinstance(error, BaseExceptionGroup):
        for inner, inner_te in zip(error.exceptions, te.exceptions or (), strict=False):
            _process_traceback(inner, inner_te)
            _process_groups(inner, inner_te)


def _exceptions_of(te: TracebackException) -> Iterator[tuple[str, TracebackException]]:
    """Yield the exceptions of a group, and of groups in it, with titles."""
    for number, inner in enumerate(te.exceptions or (), 1):
        what = "".join(inner.format_exception_only()).partition("\n")[0]
        yield escape(f"Exception {number} of the group, {what}"), inner
        yield from _exceptions_of(inner)


def _give_contexts(
    te: TracebackException, context_of: GetContext, current: RequestContext | None
) -> None:
    """Add the request's context to each frame of *te* and of its causes."""
    for number, frame in enumerate(te.stack):
        assert isinstance(frame, DebugFrameSummary)
        ctx = frame.local_ns.get("ctx")
        if isinstance(ctx, RequestContext) and frame.filename.startswith(_OWN_FILES):
            current = ctx  # for this frame and those it called
        te.stack[number] = _Frame.of(frame, context_of(current))
    for other in (te.__cause__, te.__context__, *(te.exceptions or ())):
        if other is not None:
            _give_contexts(other, context_of, current)


def _fold(te: TracebackException) -> int:
    """Remove this package's frames, and return how many. If there are no others, keep the last
    one, which says what is wrong (not for a syntax error, which has no frame)."""
    frames = [frame for frame in te.stack if not frame.filename.startswith(_OWN_FILES)]
    if not frames and not hasattr(te, "text"):
        frames = te.stack[-1:]
    folded = len(te.stack) - len(frames)
    te.stack[:] = frames
    others = (te.__cause__, te.__context__, *(te.exceptions or ()))
    return folded + sum(_fold(other) for other in others if other is not None)


class _Kept:
    """An exception, with the number in its page's URL."""

    def __init__(self, number: int, error: BaseException, context_of: GetContext) -> None:
        self.number = number
        self.traceback = _Traceback(error, context_of, fold=True)
        self.unfolded = _Traceback(error, context_of, fold=False)
        self.text = self.traceback.render_traceback_text()

    def frames(self) -> list[DebugFrameSummary]:
        return [*self.traceback.all_frames, *self.unfolded.all_frames]


# -- Werkzeug's debugger --------------------------------------------------------------------


class _NotOurs(Exception):
    """The request is for the app."""


class _Werkzeug(DebuggedApplication):
    """Werkzeug's debugger. It is given exceptions instead of calling the app."""

    def __init__(self, app: Any, evalex: bool) -> None:
        super().__init__(app, evalex)
        self.kept: OrderedDict[int, _Kept] = OrderedDict()
        self._number = 0

    def keep(self, error: BaseException, context_of: GetContext) -> _Kept:
        self._number += 1
        kept = _Kept(self._number, error, context_of)
        kept.traceback.unfolded_url = self.query_of(kept, frames="all")
        self.kept[kept.number] = kept
        self.frames.update((id(frame), frame) for frame in kept.frames())
        while len(self.kept) > KEPT_TRACEBACKS:
            _, oldest = self.kept.popitem(last=False)
            for frame in oldest.frames():
                self.frames.pop(id(frame), None)
        return kept

    def query_of(self, kept: _Kept, **more: str) -> str:
        """Return the URL of *kept*'s page, relative to any URL of the app."""
        query = {"cmd": "traceback", "id": kept.number, **more, "s": self.secret}
        return f"?{QUERY.decode()}&{urlencode(query)}"

    def page(self, kept: _Kept, environ: Environ, *, fold: bool = True) -> str:
        trusted = self.check_host_trust(environ)
        traceback = kept.traceback if fold else kept.unfolded
        html = traceback.render_debugger_html(
            evalex=self.evalex and trusted,
            secret=self.secret if trusted else "",
            evalex_trusted=bool(self.check_pin_trust(environ)),
        )
        # The last occurrence: the user's code on the page may contain the words too.
        before, wsgi, after = html.rpartition(" in your WSGI application.")
        return f"{before} in your application.{after}" if wsgi else html

    def __call__(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        request = Request(environ)
        args = request.args
        response: Any = super().__call__
        if args.get("cmd") != "resource" and not self.check_host_trust(environ):
            response = SecurityError()
        elif args.get("cmd") == "traceback" and args.get("s") == self.secret:
            kept = self.kept.get(args.get("id", type=int) or 0)
            if kept is None:
                response = NotFound(f"The last {KEPT_TRACEBACKS} tracebacks are kept.")
            else:
                html = self.page(kept, environ, fold=args.get("frames") != "all")
                response = Response(html, mimetype="text/html")
        content: Iterable[bytes] = response(environ, start_response)
        return content

    def check_host_trust(self, environ: Environ) -> bool:
        """Return `True` if the request may use consoles. Unlike Werkzeug, accepts IPv6
        addresses as hosts."""
        address = _IPV6_HOST.fullmatch(environ.get("HTTP_HOST") or "")
        if address is None:
            return super().check_host_trust(environ)
        return address[1] in ("[::1]", *self.trusted_hosts)

    def debug_application(self, environ: Environ, start_response: Callable[..., object]) -> Any:
        raise _NotOurs

    def display_console(self, request: Request) -> Response:
        if 0 not in self.frames:
            assert self.console_init_func is not None
            shell: Any = _Shell(self.console_init_func(), copy_context())
            self.frames[0] = shell
        return super().display_console(request)

    def answer(self, environ: Environ) -> Response:
        """Return the response to a request; call it on a thread. Raises `_NotOurs`."""
        try:
            return Response.from_app(self, environ, buffered=True)
        except HTTPException as error:
            return Response.force_type(error.get_response(environ))


# -- the middleware -------------------------------------------------------------------------


class Debugger:
    """ASGI middleware that answers an exception from *app* with Werkzeug's debugger.

    A console belongs to the process that had the exception, so only one process may serve.
    Never use it where others can reach the server.

    :param evalex: provide consoles. Without them, pages only show the frames.
    :param trusted_hosts: hosts that may use consoles, in addition to `localhost` and
        `127.0.0.1`.
    :param address: the server's address, such as ``http://127.0.0.1:5000``.
    :param serve_failure: if the app cannot start, answer every request with the error's page,
        for a server that restarts when the code changes. Otherwise the server ends.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        evalex: bool = True,
        trusted_hosts: Iterable[str] = (),
        address: str = "",
        serve_failure: bool = False,
    ) -> None:
        self.app = app
        self._flask: Any = getattr(app, "app", app)  # `add_middleware` wraps the app
        # The PIN depends on the class of this argument: the same for an app and a failed
        # start.
        self._werkzeug = _Werkzeug(self, evalex)
        self._werkzeug.trusted_hosts += trusted_hosts
        self._werkzeug.console_init_func = self._shell_names
        self._address = address
        self._serve_failure = serve_failure
        self._failure: _Kept | None = None
        """The exception that kept the app from starting."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            if not await self._answer_own(scope, receive, send):
                await self._serve_http(scope, receive, send)
        elif kind == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif kind == "lifespan":
            await self._serve_lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer_own(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the request if it is for the debugger itself. Return `True` if so."""
        console_path = self._werkzeug.console_path
        if QUERY not in scope["query_string"] and route_path(scope) != console_path:
            return False
        environ = environ_from_scope(scope, Body(scope, receive))
        try:
            # In a context of its own: the server's may be the connection's.
            response = await run_in_worker(copy_context().run, self._werkzeug.answer, environ)
        except _NotOurs:
            return False
        await _send_response(scope, send, response)
        return True

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = _Start(send)
        kept = self._failure
        contexts: list[Context] = []
        if kept is None:
            try:
                await self.app({**scope, KEEP_CONTEXT: contexts.append}, receive, start)
                await start.release()
                return
            except Exception as error:
                kept = self._keep(error, contexts)
            self._log(f"on {scope['path']} [{scope['method']}]", kept, self._url_of(scope, kept))
        if start.sent:
            return  # the server closes the connection, so the client knows
        if any(b"text/html" in value for name, value in scope["headers"] if name == b"accept"):
            environ = environ_from_scope(scope, Body(scope, receive))
            html = await run_in_worker(self._werkzeug.page, kept, environ)
            response = Response(html, 500, mimetype="text/html")
        else:
            response = Response(kept.text, 500, mimetype="text/plain")
        await _send_response(scope, send, response)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = "websocket.connect"  # the last message in either direction

        async def noted_receive() -> Message:
            nonlocal last
            message = await receive()
            last = last if message["type"] == "websocket.receive" else message["type"]
            return message

        async def noted_send(message: Message) -> None:
            nonlocal last
            last = message["type"]
            await send(message)

        kept = self._failure
        contexts: list[Context] = []
        if kept is None:
            try:
                await self.app({**scope, KEEP_CONTEXT: contexts.append}, noted_receive, noted_send)
                return
            except Exception as error:
                kept = self._keep(error, contexts)
            self._log(f"on {scope['path']} [WEBSOCKET]", kept, self._url_of(scope, kept))
        else:
            await receive()
        refusable = "websocket.http.response" in (scope.get("extensions") or {})
        if last == "websocket.connect" and refusable:
            response = Response(kept.text, 500, mimetype="text/plain")
            await _send_response(scope, send, response, "websocket.http.response")
        elif last in ("websocket.connect", "websocket.accept", "websocket.send"):
            await send({"type": "websocket.close", "code": 1011})

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        failed: list[Message] = []

        async def note(message: Message) -> None:
            if message["type"].endswith(".failed"):
                failed.append(message)
            else:
                await send(message)

        try:
            await self.app(scope, receive, note)
            for message in failed:
                await send(message)
        except Exception as error:
            if not failed:
                raise
            kept = self._keep(error, [])
            if failed[0]["type"] == "lifespan.startup.failed" and self._serve_failure:
                self._failure = kept
                url = self._address and f"{self._address}/{self._werkzeug.query_of(kept)}"
                self._log("at startup", kept, url)
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({**failed[0], "message": kept.text})
            raise

    def _keep(self, error: BaseException, contexts: list[Context]) -> _Kept:
        """Keep *error* for its page. *contexts*: the contexts of the requests when they failed."""
        made: dict[RequestContext | None, Context] = {}

        def context_of(ctx: RequestContext | None) -> Context:
            for context in contexts:
                if context.get(_cv_request) is ctx:
                    return context
            if ctx not in made:
                made[ctx] = self._make_context(ctx)
            return made[ctx]

        return self._werkzeug.keep(error, context_of)

    def _make_context(self, ctx: RequestContext | None) -> Context:
        """Create a context for code outside of requests, or for a request that has left its
        own."""
        context = Context()
        app = self._flask if ctx is None else ctx.app
        if hasattr(app, "app_context"):
            context.run(_cv_app.set, app.app_context())
        if ctx is not None:
            context.run(_cv_request.set, ctx)
        return context

    def _shell_names(self) -> dict[str, Any]:
        if not hasattr(self._flask, "make_shell_context"):
            return {"app": self._flask}
        _cv_app.set(self._flask.app_context())
        names: dict[str, Any] = self._flask.make_shell_context()
        return names

    def _url_of(self, scope: Scope, kept: _Kept) -> str:
        """Return the URL of *kept*'s page, at the address that the client used if that is
        trusted."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._werkzeug.check_host_trust({"HTTP_HOST": host}):
            host = f"127.0.0.1:{(scope.get('server') or ('', 80))[1]}"
        scheme = SCHEMES.get(scope["scheme"], scope["scheme"])
        return f"{scheme}://{host}{scope.get('root_path', '')}/{self._werkzeug.query_of(kept)}"

    def _log(self, where: str, kept: _Kept, url: str) -> None:
        logger = getattr(self._flask, "logger", None) or logging.getLogger(__name__)
        page = f"In the debugger: {url}" if url else ""
        logger.error("Exception %s\n%s%s", where, kept.text, page)


class _Start:
    """Sends a response. The start is sent with the first chunk, as in WSGI (PEP 3333), so that
    an earlier exception can still be answered. Event streams start at once: pages wait for
    that."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: Message | None = None
        self.sent = False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._held = message
            if not any(value.startswith(b"text/event-stream") for _, value in message["headers"]):
                return
        if kind == "http.response.body" and message.get("more_body") and not message.get("body"):
            return
        await self.release()
        if kind != "http.response.start":
            await self._send(message)

    async def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self.sent = True
            await self._send(held)


async def _send_response(
    scope: Scope, send: Send, response: Response, kind: str = "http.response"
) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
    ]
    content = response.get_data() if scope.get("method") != "HEAD" else b""
    start = {"type": f"{kind}.start", "status": response.status_code, "headers": headers}
    await send(start)
    await send({"type": f"{kind}.body", "body": content})
