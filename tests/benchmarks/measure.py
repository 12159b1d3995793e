"""Drives what is served, and notes rate, latency, processor time and memory.

Who is driven is in `peers.py`, with what in `workloads.py`; what becomes of it in `report.py`.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from peers import Peer, Served, serve
from workloads import FILES, WAITING, Request, Workload, multipart

from support.servers import HOST

LUA = """
local requests, n, i = {}, 0, 0
local function body(name)
  if name == "" then return nil end
  local file = assert(io.open(name, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end
local function format(method, path, headers, name)
  for key, value in pairs(wrk.headers) do headers[key] = headers[key] or value end
  return wrk.format(method, path, headers, body(name))
end
function init(args)
%s
end
function request()
  i = i %% n + 1
  return requests[i]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n@{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f,'
    .. ' "failed": %%d, "refused": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6,
    latency:percentile(99) / 1e6, e.connect + e.read + e.write + e.timeout, e.status))
end
"""


WARM_UP_SECONDS = 2
PATIENCE_SECONDS = 15
"""How long to drive again whoever answered nothing."""


@dataclass(frozen=True)
class Machine:
    """Which core the servers have, and which the clients; none, if nothing can be pinned."""

    server_core: int | None
    client_core: int | None

    @property
    def client(self) -> list[str]:
        return [] if self.client_core is None else ["taskset", "-c", str(self.client_core)]


@dataclass(frozen=True)
class Figures:
    """Of one peer in one round. *rate*: requests (or messages) per second. *p50*, *p99*: seconds.
    *cpu*: of the server, seconds per request. *memory*: resident MB after it."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float


Results = dict[str, list[Figures]]
"""By peer, one for each round."""


def make_files(folder: Path) -> None:
    for name, size in FILES.items():
        (folder / name).write_bytes((b"0123456789abcde\n" * (size // 16 + 1))[:size])


def run_workload(
    workload: Workload,
    peers: list[Peer],
    machine: Machine,
    *,
    rounds: int,
    seconds: int,
    connections: int,
    warm_up: bool = True,
) -> Results:
    """Measure one row of the table: all peers in turn, *rounds* times."""
    connections = workload.connections or connections
    results: Results = {peer.key: [] for peer in peers}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        make_files(files)
        with serve(peers, workload, files, machine.server_core) as servers:
            signed_in = {server: sign_in(workload, server) for server in servers}
            check_answers(workload, signed_in)
            clients = {
                server: Client(workload, server, files, who, machine, connections)
                for server, who in signed_in.items()
            }
            if warm_up:  # all at once: this is no measurement
                with ThreadPoolExecutor(len(clients)) as pool:
                    list(pool.map(Client.warm_up, clients.values()))
            for number in range(rounds):
                first = number % len(servers)  # Nobody is always the one after the slowest.
                for server in servers[first:] + servers[:first]:
                    before = server.cpu_seconds()
                    done = clients[server].drive(seconds)
                    cpu = (server.cpu_seconds() - before) / done["requests"]
                    figures = Figures(
                        rate=done["requests"] / done["seconds"],
                        p50=done["p50"],
                        p99=done["p99"],
                        cpu=cpu,
                        memory=server.memory(),
                    )
                    results[server.peer.key].append(figures)
                    print(
                        f"  {workload.key}, round {number + 1}, {server.peer.name}:"
                        f" {figures.rate:,.0f}/s",
                        file=sys.stderr,
                    )
    return results


class Client:
    """What drives one server: wrk, or `load.py`."""

    def __init__(
        self,
        workload: Workload,
        server: Served,
        files: Path,
        who: SignedIn,
        machine: Machine,
        connections: int,
    ) -> None:
        self.workload = workload
        self.server = server
        self.machine = machine
        self.connections = connections
        self.script = files / f"{server.peer.key}.lua"
        if workload.kind == "wrk":
            self.script.write_text(lua(workload, self.script, who))

    def drive(self, seconds: int) -> dict[str, float]:
        if self.workload.kind == "wrk":
            return self._wrk(seconds)
        much = WAITING if self.workload.kind == "wait" else seconds
        command = [sys.executable, str(Path(__file__).with_name("load.py")), self.workload.kind]
        command += [str(self.server.port), self.workload.requests[0].path]
        command += [str(self.connections), str(much)]
        done: dict[str, float] = json.loads(self._run(command))
        return done

    def warm_up(self) -> None:
        if self.workload.kind == "wrk":
            self._run(self._wrk_command(WARM_UP_SECONDS))
        else:
            self.drive(WARM_UP_SECONDS)

    def _wrk_command(self, seconds: int) -> list[str]:
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "10"]
        return [*command, "-s", str(self.script), f"http://{HOST}:{self.server.port}"]

    def _wrk(self, seconds: int) -> dict[str, float]:
        output = self._run(self._wrk_command(seconds))
        done: dict[str, float] = json.loads(output.rpartition("@")[2])
        if not done["requests"]:
            if seconds >= PATIENCE_SECONDS:
                self._fail(output)
            return self._wrk(PATIENCE_SECONDS)
        expected = sum(request.status >= 400 for request in self.workload.requests)
        expected_share = expected / len(self.workload.requests)
        if done["failed"] or abs(done["refused"] / done["requests"] - expected_share) > 0.02:
            self._fail(output)
        return done

    def _run(self, command: list[str]) -> str:
        done = subprocess.run([*self.machine.client, *command], capture_output=True, text=True)
        if done.returncode:
            self._fail(done.stdout + done.stderr)
        return done.stdout

    def _fail(self, output: str) -> None:
        raise SystemExit(
            f"Not all requests of {self.workload.key} to {self.server.peer.name} went well:\n"
            f"{output}\n{self.server.output[-2_000:]}"
        )


def lua(workload: Workload, script: Path, who: SignedIn) -> str:
    """A script for wrk that sends the workload's requests in turn; it reads their bodies from
    files beside it."""
    lines = []
    for number, request in enumerate(dict.fromkeys(workload.requests)):
        headers = dict(request.headers)
        if who.cookie is not None:
            headers["Cookie"] = who.cookie
        body = ""
        if request.body:
            path = script.with_suffix(f".{number}.body")
            path.write_bytes(request.with_token(who.token).body)
            body = str(path)
        table = ", ".join(f'["{name}"] = {json.dumps(value)}' for name, value in headers.items())
        times = workload.requests.count(request)
        lines.append(
            f'  local r = format("{request.method}", "{request.path}", {{{table}}}, "{body}")'
        )
        lines.append(f"  for _ = 1, {times} do n = n + 1; requests[n] = r end")
    return LUA % "\n".join(lines)


# -- the same answers from all -----------------------------------------------------------------


@dataclass(frozen=True)
class SignedIn:
    """What one server gave a client that signed in: the cookie of its session, and a token that
    its forms carry."""

    cookie: str | None = None
    token: bytes = b""


def sign_in(workload: Workload, server: Served) -> SignedIn:
    if workload.sign_in is None:
        return SignedIn()
    _, _, token, cookie = fetch(server, workload.sign_in, None)
    return SignedIn(cookie, token)


def check_answers(workload: Workload, signed_in: dict[Served, SignedIn]) -> None:
    """All must give the same answers, or there is nothing to compare."""
    expected: list[tuple[int, str, bytes]] = []
    for server, who in signed_in.items():
        answers = []
        if workload.kind == "websocket":
            continue  # `load.py` checks it for each connection.
        for request in dict.fromkeys(workload.requests):
            request = request.with_token(who.token)
            status, content_type, body, _ = fetch(server, request, who.cookie)
            if status != request.status:
                raise SystemExit(
                    f"{server.peer.name} answers {request.path} with {status} and not with"
                    f" {request.status}:\n{body[:500]!r}\n{server.output[-2_000:]}"
                )
            if workload.varying is not None:
                body = re.sub(workload.varying, b"", body)
            answers.append((status, content_type, body))
        expected = expected or answers
        if answers != expected:
            raise SystemExit(
                f"{server.peer.name} answers {workload.key} with\n  {str(answers)[:500]}\n"
                f"and not with\n  {str(expected)[:500]}"
            )


def fetch(
    server: Served, request: Request, cookie: str | None
) -> tuple[int, str, bytes, str | None]:
    """Status, kind of content, body and cookie of one answer. Text is text, be it plain or HTML;
    and a line break at the very end, which Flask's JSON has, is not counted."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    headers = {**dict(request.headers), **({"Cookie": cookie} if cookie else {})}
    connection.request(request.method, request.path, request.body or None, headers)
    response = connection.getresponse()
    body = response.read().removesuffix(b"\n")
    connection.close()
    content_type = (response.headers["Content-Type"] or "").partition(";")[0]
    kind = "text" if content_type.startswith("text/") else content_type
    given = response.headers["Set-Cookie"]
    return response.status, kind, body, given.partition(";")[0] if given else None


# -- a large upload ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Upload:
    megabytes: int
    seconds: float
    grown: float
    """By how many MB the server's memory was larger, at most, than before."""


def large_upload(
    workload: Workload, peer: Peer, machine: Machine, megabytes: int = 1024
) -> Upload:
    """Send one file of that size, with the memory of the server in view."""

    before, after = multipart(megabytes * 1024 * 1024)
    chunk = b"0123456789abcde\n" * (64 * 1024)
    with (
        tempfile.TemporaryDirectory() as folder,
        serve([peer], workload, Path(folder), machine.server_core) as (server,),
    ):
        fetch(server, workload.requests[0], None)  # what is imported at the first one
        least = server.memory()
        Path(f"/proc/{server.pids()[-1]}/clear_refs").write_text("5")  # proc(5): resets VmHWM
        began = time.perf_counter()
        connection = http.client.HTTPConnection(HOST, server.port, timeout=300)
        connection.putrequest("POST", workload.requests[0].path)
        for name, value in workload.requests[0].headers:
            connection.putheader(name, value)
        length = len(before) + megabytes * len(chunk) + len(after)
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        connection.send(before)
        for _ in range(megabytes):
            connection.send(chunk)
        connection.send(after)
        response = connection.getresponse()
        body = response.read()
        seconds = time.perf_counter() - began
        if response.status != 200 or json.loads(body)["size"] != megabytes * len(chunk):
            raise SystemExit(f"The upload is answered with {response.status}: {body[:500]!r}")
        return Upload(megabytes, seconds, server.memory("VmHWM") - least)


def as_json(results: Results) -> dict[str, list[dict[str, float]]]:
    return {peer: [asdict(figures) for figures in rounds] for peer, rounds in results.items()}
