"""The page "Work in the background": its queues, with a real Redis and real workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.redis import Redis, needs_redis
from test_docs import DOCS, blocks_of

pytestmark = [pytest.mark.slow, needs_redis]

SECONDS = 120
PAGE = DOCS / "howto" / "background-work.rst"

CELERY = f"""
from shop import create_app
from celery import current_app

app = create_app()
print(current_app.send_task("shop.pack", [7]).get(timeout={SECONDS}))
print(current_app.send_task("shop.ship", [7]).get(timeout={SECONDS}))
assert app.test_client().post("/orders/7").status_code == 202
"""

SAQ = f"""
import asyncio

from asyncflask.async_testing import AsyncClient
from mailer import app, queue

async def main():
    async with AsyncClient(app) as client:
        assert (await client.post("/mails/ada@example.org")).status_code == 202
        print(await queue.apply("mail", address="bob@example.org", timeout={SECONDS}))

asyncio.run(main())
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    for block in blocks_of(PAGE.read_text("utf-8")):
        if block.caption:
            (tmp_path / block.caption).write_text(block.code, "utf-8")
    with Redis() as redis:
        yield {**os.environ, "REDIS_URL": redis.url, "PYTHONPATH": path(tmp_path)}


def path(folder: Path) -> str:
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


@contextmanager
def worker(folder: Path, env: dict[str, str], *command: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def output(folder: Path, env: dict[str, str], code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_celery(tmp_path: Path, environment: dict[str, str]) -> None:
    with worker(tmp_path, environment, "celery", "-A", "worker", "worker", "-c", "1"):
        assert output(tmp_path, environment, CELERY) == ["shop packs 7", "shop ships 7"]


def test_saq(tmp_path: Path, environment: dict[str, str]) -> None:
    with worker(tmp_path, environment, "saq", "mailer.settings"):
        assert output(tmp_path, environment, SAQ) == ["mailer writes to bob@example.org"]
