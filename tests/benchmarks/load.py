"""A client for what wrk cannot do, in a process of its own: WebSockets, and requests that wait.

It speaks just enough of the protocols, with one `epoll` and no event loop, to take less time than
any server; it counts, and prints JSON.

- ``load.py websocket PORT PATH CONNECTIONS SECONDS``: each connection sends its next message when
  the echo of the last one has come (RFC 6455).
- ``load.py wait PORT PATH CONNECTIONS TOTAL``: TOTAL requests, one after the other on each
  connection.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

HOST = "127.0.0.1"
MESSAGE = b"a message of forty characters, as it is."
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
GET = "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"


def connect(port: int) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def frame(message: bytes) -> bytes:
    """A text frame, masked as a client's have to be."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(message))
    return bytes([0x81, 0x80 | len(message)]) + mask + masked


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of a response, and what of the body has come with it."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise SystemExit("The server closed the connection.")
        received += chunk
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def websockets(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    echo = bytes([0x81, len(MESSAGE)]) + MESSAGE
    sockets = {}
    for _ in range(connections):
        connection = connect(port)
        connection.sendall(UPGRADE.format(path=path, host=HOST, port=port).encode())
        head, _ = read_head(connection)
        if not head.startswith(b"HTTP/1.1 101"):
            raise SystemExit(f"The handshake is answered with {head!r}.")
        connection.sendall(frame(MESSAGE))
        if connection.recv(65536) != echo:
            raise SystemExit("The first message does not come back.")
        sockets[connection.fileno()] = connection
    poll = select.epoll()
    message = frame(MESSAGE)
    received = dict.fromkeys(sockets, 0)
    sent_at = {}
    latencies = []
    now = began = time.perf_counter()
    for number, connection in sockets.items():
        poll.register(number, select.EPOLLIN)
        connection.sendall(message)
        sent_at[number] = now
    while now - began < seconds:
        for number, _ in poll.poll(1):
            connection = sockets[number]
            received[number] += len(connection.recv(65536))
            if received[number] < len(echo):
                continue
            now = time.perf_counter()
            latencies.append(now - sent_at[number])
            received[number] = 0
            sent_at[number] = now
            connection.sendall(message)
        now = time.perf_counter()
    for connection in sockets.values():
        connection.close()
    return result(latencies, now - began)


def waiting(port: int, path: str, connections: int, total: int) -> dict[str, float]:
    request = GET.format(path=path, host=HOST, port=port).encode()
    sockets = {}
    for _ in range(connections):
        connection = connect(port)
        sockets[connection.fileno()] = connection
    # A connection that the server has not accepted yet would count as waiting.
    time.sleep(0.5)
    poll = select.epoll()
    sent_at = {}
    latencies: list[float] = []
    began = time.perf_counter()
    for number, connection in sockets.items():
        poll.register(number, select.EPOLLIN)
        sent_at[number] = time.perf_counter()
        connection.sendall(request)
    left = total - connections
    while len(latencies) < total:
        for number, _ in poll.poll(30):
            connection = sockets[number]
            head, rest = read_head(connection)
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"A request is answered with {head!r}.")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            while len(rest) < length:
                rest += connection.recv(65536)
            now = time.perf_counter()
            latencies.append(now - sent_at[number])
            if left:
                left -= 1
                sent_at[number] = now
                connection.sendall(request)
    ended = time.perf_counter()
    for connection in sockets.values():
        connection.close()
    return result(latencies, ended - began)


def result(latencies: list[float], seconds: float) -> dict[str, float]:
    latencies.sort()
    return {
        "requests": len(latencies),
        "seconds": seconds,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
    }


def main() -> None:
    kind, port, path, connections, much = sys.argv[1:]
    if kind == "websocket":
        print(json.dumps(websockets(int(port), path, int(connections), float(much))))
    else:
        print(json.dumps(waiting(int(port), path, int(connections), int(much))))


if __name__ == "__main__":
    main()
