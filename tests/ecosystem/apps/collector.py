"""Stands in for the service that a monitoring library reports to: a server on this machine that
keeps what it is sent, for a test to wait for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Condition, Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

SECONDS = 20
"""For a report to come; libraries send them in batches, seconds later."""


class Report(NamedTuple):
    path: str
    body: bytes


class HTTPHandler(BaseHTTPRequestHandler):
    """Keeps what is posted, and answers that all is well."""

    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        self.server.keep(Report(self.path, _read(self)))
        self.do_GET()

    do_PUT = do_POST

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Collector(ThreadingTCPServer):
    """From ``with`` to the end of its block."""

    daemon_threads = True

    def __init__(self, handler: type[BaseRequestHandler] = HTTPHandler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.reports: list[Report] = []
        self._news = Condition()
        self._patience = SECONDS
        self._thread = Thread(target=self.serve_forever, args=[0.05])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def address(self) -> str:
        return "{}:{}".format(*self.server_address)

    def keep(self, report: Report) -> None:
        with self._news:
            self.reports.append(report)
            self._news.notify_all()

    def wait_for(self, select: Callable[[list[Report]], list[Any]], count: int) -> list[Any]:
        """What *select* finds in the reports, once there is as much as *count* of it."""
        with self._news:
            if not self._news.wait_for(lambda: len(select(self.reports)) >= count, self._patience):
                self._patience = 0  # what did not come for one test does not come for the next
            return select(self.reports)


def _read(handler: BaseHTTPRequestHandler) -> bytes:
    """The body of the request, as it was before it was chunked and compressed."""
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = b""
        while size := int(handler.rfile.readline(), 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
    else:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    match handler.headers.get("Content-Encoding"):
        case "gzip":
            return gzip.decompress(body)
        case "deflate":
            return zlib.decompress(body)
        case "br":
            import brotli  # where the library has it, too

            return brotli.decompress(body)
    return body
