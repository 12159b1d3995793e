"""Other projects' apps behind the site's login: an MCP server, a GraphQL endpoint and an admin
interface, served by uvicorn and used by their own clients."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from support.servers import Process, python_path

pytestmark = pytest.mark.slow  # the server imports all of them

SECONDS = 45.0

SITE = """
import strawberry
from mcp.server import MCPServer
from starlette_admin import BaseAdmin
from starlette.applications import Starlette
from strawberry.asgi import GraphQL

from asyncflask import Flask, abort, current_app, g, request, session

app = Flask(__name__, static_folder=None)
app.secret_key = "key"
app.extensions["stock"] = {"tea": 3}
seen = app.extensions["seen"] = []


@app.before_request
def log_in():
    seen.append(request.path)
    if request.endpoint not in ("log_in", "static"):
        g.user = session.get("user") or abort(401)


@app.post("/login", endpoint="log_in")
def logged_in():
    session["user"] = request.form["user"]
    return ""


mcp = MCPServer("shop")


@mcp.tool()
async def stock(sku: str) -> str:
    return f"{current_app.extensions['stock'][sku]} for {g.user}"


@strawberry.type
class Query:
    @strawberry.field
    async def me(self) -> str:
        return g.user


admin_site = Starlette()
admin = BaseAdmin(title="Back office", base_url="/panel", secret_key="key")
admin.mount_to(admin_site)

app.mount("/ai", mcp.streamable_http_app(stateless_http=True), guarded=True)
app.mount("/graphql", GraphQL(strawberry.Schema(Query)), guarded=True)
app.mount("/admin", admin_site, guarded=True)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "site_app.py").write_text(SITE)
    command = [sys.executable, "-m", "uvicorn", "site_app:app", "--port", "{port}"]
    with Process(command, env=python_path(folder)) as server:
        yield server
        assert "Traceback" not in server.output


@pytest.fixture
def cookies(site: Process) -> dict[str, str]:
    """Those of a client that has logged in."""
    response = httpx.post(f"{site.url}/login", data={"user": "Ada"}, timeout=SECONDS)
    return dict(response.cookies)


async def test_mcp(site: Process, cookies: dict[str, str]) -> None:
    async with httpx2.AsyncClient(cookies=cookies, timeout=SECONDS) as http:
        transport = streamable_http_client(f"{site.url}/ai/mcp", http_client=http)
        async with Client(transport) as client:
            tools = await client.list_tools()
            assert [tool.name for tool in tools.tools] == ["stock"]
            result = await client.call_tool("stock", {"sku": "tea"})
            assert result.content[0].text == "3 for Ada"  # type: ignore[union-attr]


def test_mcp_without_login(site: Process) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    response = httpx.post(f"{site.url}/ai/mcp", json=sent, timeout=SECONDS)
    assert response.status_code == 401


def test_graphql(site: Process, cookies: dict[str, str]) -> None:
    query = {"query": "{ me }"}
    url = f"{site.url}/graphql/"
    assert httpx.post(url, json=query, timeout=SECONDS).status_code == 401
    response = httpx.post(url, json=query, cookies=cookies, timeout=SECONDS)
    assert response.json() == {"data": {"me": "Ada"}}


def test_admin(site: Process, cookies: dict[str, str]) -> None:
    url = f"{site.url}/admin/panel/"
    assert httpx.get(url, timeout=SECONDS).status_code == 401
    response = httpx.get(url, cookies=cookies, timeout=SECONDS)
    assert response.status_code == 200
    assert "Back office" in response.text
    stylesheet = re.findall(r'href="?([^" >]+\.css[^" >]*)', response.text)[0]
    assert "/admin/panel/static/" in stylesheet
    response = httpx.get(urljoin(url, stylesheet), cookies=cookies, timeout=SECONDS)
    assert response.status_code == 200
