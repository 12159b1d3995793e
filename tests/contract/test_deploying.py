"""What readers copy from docs/deploying.rst works: its nginx configuration in front of uvicorn,
and the commands of its systemd unit and Dockerfile."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from contract.raw import APPS, SECONDS, TESTS, Connection, Diary, get, until
from support.servers import HOST, Process, python_path
from test_docs import DOCS, blocks_of

BLOCKS: Final = list(blocks_of((DOCS / "deploying.rst").read_text("utf-8")))
PROGRAMS: Final = Path(sys.executable).parent


def block(caption: str) -> str:
    (code,) = (block.code for block in BLOCKS if block.caption == caption)
    return code


# -- nginx ------------------------------------------------------------------------------------

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx: Final = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

FOLDERS: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

AROUND: Final = """\
{user}
pid {folder}/nginx.pid;
daemon off;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    {folders}
    {conf}
}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def nginx(conf: str, app: Process, folder: Path) -> Iterator[Process]:
    """nginx with *conf*, where *app* stands in for the page's ``127.0.0.1:8000``."""
    port = free_port()
    conf = conf.replace("listen 80;", f"listen {HOST}:{port};")
    conf = conf.replace("127.0.0.1:8000", f"{HOST}:{app.port}")
    folders = (f"{name}_temp_path {folder}/{name};" for name in FOLDERS)
    user = "user root;" if os.geteuid() == 0 else ""
    text = AROUND.format(user=user, folder=folder, folders="\n".join(folders), conf=conf)
    file = folder / "nginx.conf"
    file.write_text(text)
    assert NGINX is not None
    command = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(file)]
    with Process(command, port=port) as process:
        yield process


@contextmanager
def uvicorn(
    *args: str, folder: Path, app: str = "deployed:app"
) -> Iterator[tuple[Process, Diary]]:
    diary = Diary(folder / "diary")
    command = [sys.executable, "-m", "uvicorn", f"{APPS}.{app}", "--port", "{port}", *args]
    with Process(command, env=diary.env, cwd=TESTS) as process:
        yield process, diary


@pytest.mark.slow
@needs_nginx
def test_nginx(tmp_path: Path) -> None:
    with (
        uvicorn(folder=tmp_path) as (app, diary),
        nginx(block("shop.conf"), app, tmp_path) as proxy,
    ):
        here = f"http://localhost:{proxy.port}"
        host = f"localhost:{proxy.port}"
        with Connection(proxy) as connection:
            # What a client claims of itself is overwritten.
            lines = f"Host: {host}", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"
            connection.send("\r\n".join(["GET /client HTTP/1.1", *lines, "", ""]).encode())
            assert json.loads(connection.reply().body) == {
                "url": f"{here}/client",
                "client": HOST,
                "here": "/client",
            }

        # A WebSocket is upgraded, and its origin compared with the host that the browser has.
        with connect(f"ws://{host}/ws", origin=Origin(here)) as client:
            client.send("through nginx")
            assert client.recv(SECONDS) == "through nginx"
        with (
            pytest.raises(InvalidStatus),
            connect(f"ws://{host}/ws", origin=Origin("http://localhost")),
        ):
            pass

        # An event is there before the next one is made.
        with Connection(proxy) as connection:
            connection.request("/events?id=events")
            connection.read_until(b"data: first\n\n")
            with diary.path.open("a") as file:
                file.write("events go\n")
            connection.read_until(b"data: second\n\n")
        diary.wait("events", "closed")

        # A body over the limit does not reach the app.
        assert get(proxy, "/client", "POST", b"x" * 21_000_000).status == 413


@pytest.mark.slow
@needs_nginx
@pytest.mark.parametrize("way", ["--root-path", "ProxyFix"])
def test_nginx_below_a_path(way: str, tmp_path: Path) -> None:
    (location,) = (block.code for block in BLOCKS if "location /shop/" in block.code)
    conf = re.sub(r"location / {\n", location.replace("}\n", ""), block("shop.conf"))
    conf = conf.replace("proxy_pass http://127.0.0.1:8000;", "")
    args = ["--root-path", "/shop"]
    if way == "ProxyFix":
        conf = conf.replace(
            "proxy_set_header Host",
            "proxy_set_header X-Forwarded-Prefix /shop;\nproxy_set_header Host",
        )
        args = ["--no-proxy-headers"]
    app_name = "deployed:fixed" if way == "ProxyFix" else "deployed:app"
    with (
        uvicorn(*args, folder=tmp_path, app=app_name) as (app, _),
        nginx(conf, app, tmp_path) as proxy,
    ):
        seen = json.loads(get(proxy, "/shop/client").body)
        assert seen == {
            "url": "http://localhost/shop/client",
            "client": HOST,
            "here": "/shop/client",
        }
        with connect(f"{proxy.ws_url}/shop/ws", origin=Origin(proxy.url)) as client:
            client.send("through nginx")
            assert client.recv(SECONDS) == "through nginx"


# -- commands ---------------------------------------------------------------------------------


def serves_and_stops(command: list[str], folder: Path) -> None:
    """*command* serves ``module:app``, from the folder of the app, and stops in order."""
    diary = Diary(folder / "diary")
    command = [str(PROGRAMS / Path(command[0]).name), *command[1:], "--port", "{port}"]
    command[command.index("module:app")] = f"{APPS}.deployed:app"
    workers = int(command[command.index("--workers") + 1]) if "--workers" in command else 1
    with Process(command, env={**diary.env, **python_path(TESTS)}, cwd=folder) as server:
        assert json.loads(get(server, "/client").body)["here"] == "/client"
        until(lambda: diary.count("app")["before"] == workers)
    assert diary.count("app") == {"before": workers, "after": workers}


def test_systemd(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("shop.service"))
    serves_and_stops(shlex.split(unit["Service"]["ExecStart"]), tmp_path)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = block("shop.service").replace("/srv/shop/.venv/bin/uvicorn", sys.executable)
    file = tmp_path / "shop.service"
    file.write_text(text.replace("/srv/shop", str(tmp_path)).replace("User=shop\n", ""))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_docker(tmp_path: Path) -> None:
    text = block("Dockerfile").replace("\\\n", "")
    (command,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    serves_and_stops(json.loads(command), tmp_path)
