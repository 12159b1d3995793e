"""examples/flaskr on a real server, and its own tests in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support.servers import Server

FLASKR = Path(__file__).parents[2] / "examples" / "flaskr"
SECONDS = 45
ADA = {"name": "Ada", "password": "correct horse"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"FLASKR_DATABASE": str(tmp_path_factory.mktemp("flaskr") / "blog" / "test.sqlite")}
    command = [sys.executable, "-m", "asyncflask", "--app", "flaskr", "init-db"]
    done = subprocess.run(
        command, cwd=FLASKR, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The database is ready:")
    with Server("flaskr:create_app", app_dir=FLASKR, args=["--factory"], env=env) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def ada(server: Server) -> Iterator[httpx.Client]:
    """A browser in which Ada is logged in."""
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=SECONDS) as client:
        client.post("/auth/register", data=ADA)
        page = client.post("/auth/login", data=ADA)
        assert page.url.path == "/"
        assert "Log out" in page.text
        yield client


def newest(page: httpx.Response) -> int:
    """The number of the first post on the page, which has a link to edit it."""
    return int(page.text.split("/edit")[0].rsplit("/", 1)[1])


def test_life_of_a_post(server: Server, ada: httpx.Client) -> None:
    page = ada.post("/create", data={"title": "Of async views", "body": "They <wait>."})
    assert page.url.path == "/"
    assert "They &lt;wait&gt;." in page.text
    number = newest(page)
    assert 'value="Of async views"' in ada.get(f"/{number}/edit").text

    stranger = httpx.get(server.url, timeout=SECONDS)
    assert "Of async views" in stranger.text
    assert "/edit" not in stranger.text
    assert (
        httpx.post(f"{server.url}/{number}/delete", timeout=SECONDS).headers["location"]
        == "/auth/login"
    )

    page = ada.post(f"/{number}/edit", data={"title": "Of all views", "body": ""})
    assert "Of all views" in page.text
    assert "Of async views" not in page.text
    assert "Of all views" not in ada.post(f"/{number}/delete").text
    assert ada.get(f"/{number}/edit").status_code == 404


@pytest.mark.usefixtures("ada")
def test_cookie_is_kept_from_scripts_and_other_sites(server: Server) -> None:
    login = httpx.post(f"{server.url}/auth/login", data=ADA, timeout=SECONDS)
    attributes = {part.strip().lower() for part in login.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes


def test_many_at_once(ada: httpx.Client) -> None:
    """Fifty requests at a time, over plain and async views, each with a connection of its own."""
    page = ada.post("/create", data={"title": "Busy day", "body": ""})
    paths = ["/", "/auth/login", "/create", "/auth/register", f"/{newest(page)}/edit"] * 40
    expected = ["Busy day", "Log in", "New post", "Register", "Busy day"] * 40
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ada.get, paths))
    assert {answer.status_code for answer in answers} == {200}
    for answer, text in zip(answers, expected, strict=True):
        assert text in answer.text
        assert "Ada</span>" in answer.text


def test_many_write_at_once(ada: httpx.Client) -> None:
    forms = [{"title": f"Title number {number}.", "body": ""} for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        pages = list(pool.map(lambda form: ada.post("/create", data=form), forms))
    assert {page.status_code for page in pages} == {200}
    index = ada.get("/").text
    assert all(form["title"] in index for form in forms)


def test_its_own_tests() -> None:
    # As a user would: without the options that this very run was given, and without plugins.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=FLASKR,
        env={**env, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
