"""httpbin, asked over real connections: what its own tests, by the test client, cannot see."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import UNDER_FLASK, WAYS, served


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    return request.param


@pytest.fixture(scope="module")
def server(way):
    with served(way, "httpbin:app") as server:
        yield server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def test_what_was_sent_comes_back(client, server):
    answer = client.post("/post?a=1&a=2", data={"b": "3"}, headers={"X-Test": "x"}).json()
    assert answer["args"] == {"a": ["1", "2"]}
    assert answer["form"] == {"b": "3"}
    assert answer["headers"]["X-Test"] == "x"
    assert answer["url"] == f"{server.url}/post?a=1&a=2"
    assert answer["origin"] == "127.0.0.1"


def test_files(client):
    answer = client.put("/anything/x", files={"f": ("name.txt", b"x" * 700_000)}).json()
    assert answer["files"] == {"f": "x" * 700_000}
    assert answer["method"] == "PUT"


def test_body_in_chunks(client, way):
    body = (b"%d" % (number % 10) * 10_000 for number in range(50))
    response = client.post("/post", content=body, headers={"Content-Type": "text/plain"})
    if way == "gunicorn":
        assert len(response.json()["data"]) == 500_000
    else:
        assert response.status_code == 501  # httpbin takes them from no server but that one


def test_stream(client):
    with client.stream("GET", "/stream/20") as response:
        lines = list(response.iter_lines())
    assert len(lines) == 20
    assert '"id": 19' in lines[-1]


def test_drip_comes_bit_by_bit(client):
    with client.stream("GET", "/drip?duration=1&numbytes=5&delay=0&code=201") as response:
        chunks = list(response.iter_raw())
    assert response.status_code == 201
    assert b"".join(chunks) == b"*" * 5
    assert len(chunks) > 1


def test_who_leaves_a_drip_does_no_harm(client, server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /drip?duration=2&numbytes=20 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert client.get("/get").status_code == 200


def test_redirects(client, server):
    response = client.get("/redirect/3", follow_redirects=True)
    assert [r.status_code for r in response.history] == [302, 302, 302]
    assert response.json()["url"] == f"{server.url}/get"
    response = client.get("/absolute-redirect/1")
    assert response.headers["Location"] == f"{server.url}/get"


def test_cookies(client):
    assert client.get("/cookies/set?a=1&b=2", follow_redirects=True).json() == {
        "cookies": {"a": "1", "b": "2"}
    }
    answer = client.get("/cookies/delete?a=", follow_redirects=True).json()
    assert answer == {"cookies": {"b": "2"}}


@pytest.mark.parametrize("path, key", [("/gzip", "gzipped"), ("/deflate", "deflated")])
def test_compressed(client, path, key):
    assert client.get(path).json()[key] is True


@pytest.mark.parametrize("status", [200, 204, 304, 404, 418, 503])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_status(client, status, method):
    assert client.request(method, f"/status/{status}").status_code == status
    assert client.get("/get").status_code == 200  # on the same connection


def test_range(client):
    response = client.get("/range/1024", headers={"Range": "bytes=10-19"})
    assert response.status_code == 206
    assert response.headers["Content-Range"] == "bytes 10-19/1024"
    assert response.content == b"klmnopqrst"


def test_conditional(client):
    assert client.get("/etag/x", headers={"If-None-Match": '"x"'}).status_code == 304
    assert client.get("/cache", headers={"If-Modified-Since": "x"}).status_code == 304


def test_credentials(client):
    assert client.get("/basic-auth/a/b").status_code == 401
    assert client.get("/basic-auth/a/b", auth=("a", "b")).status_code == 200
    digest = httpx.DigestAuth("a", "b")
    assert client.get("/digest-auth/auth/a/b", auth=digest).status_code == 200
    assert client.get("/bearer", headers={"Authorization": "Bearer x"}).json()["token"] == "x"


def test_pictures_and_pages(client):
    assert client.get("/image/png").content.startswith(b"\x89PNG")
    assert "<form" in client.get("/forms/post").text
    assert client.get("/static/favicon.ico").status_code == 200
    assert client.get("/encoding/utf8").text.count("∮") > 0


def test_delays_go_on_side_by_side(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.get("/delay/1").status_code, range(8)))
    assert answers == [200] * 8


def test_long_random_streams(client):
    one = client.get("/stream-bytes/100000?seed=1&chunk_size=1000").content
    assert len(one) == 100_000
    assert one == client.get("/stream-bytes/100000?seed=1").content


@pytest.mark.skipif(UNDER_FLASK, reason="Werkzeug's server does not keep connections open.")
def test_many_on_one_connection(client):
    with socket.create_connection(client.base_url.netloc.decode().split(":"), timeout=30) as s:
        s.sendall(b"GET /status/200 HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
        received = b""
        while received.count(b"HTTP/1.1 200") < 5:
            data = s.recv(65536)
            assert data, received
            received += data
