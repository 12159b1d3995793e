"""examples/chat in a real browser: headless Chromium, with two people talking to each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from support.browser import NewPage, api
from support.browser import browser as browser
from support.browser import new_page as new_page
from support.redis import Redis, needs_redis
from support.servers import Server

pytestmark = pytest.mark.slow

CHAT = Path(__file__).parents[2] / "examples" / "chat"
PHONE = {"width": 390, "height": 780}


class Enter(Protocol):
    def __call__(self, name: str, /, **options: Any) -> Any: ...


class OpenPage(Protocol):
    def __call__(self, server: Server, name: str, /, **options: Any) -> Any: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("app:app", app_dir=CHAT, env={"ROOMS_URL": "memory://"}) as server:
        yield server
        assert "Traceback" not in server.output, server.output


@pytest.fixture
def open_page(new_page: NewPage) -> OpenPage:
    """Somebody who opens the page in a browser of their own and says who they are."""

    def open_page(server: Server, name: str, /, **options: Any) -> Any:
        page = new_page(**options)
        page.set_default_timeout(45_000)
        page.goto(server.url)
        page.fill("#name", name)
        page.click("#hello button")
        wait_until_in(page)
        return page

    return open_page


@pytest.fixture
def enter(server: Server, open_page: OpenPage) -> Enter:
    return partial(open_page, server)


def wait_until_in(page: Any) -> None:
    page.wait_for_selector("#status[data-state=open]", state="attached")


def say(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def see(page: Any, text: str, selector: str = ".said p") -> None:
    api.expect(page.locator(selector, has_text=text).last).to_be_visible(timeout=45_000)


def test_two_people_talk(enter: Enter) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    see(ada, "Bob joined", ".notice")
    say(ada, "Hello, Bob!")
    see(bob, "Hello, Bob!")
    say(bob, "Hello, Ada!")
    see(ada, "Hello, Ada!")
    for page in ada, bob:
        assert page.locator("#members b").all_inner_texts() == ["Ada", "Bob"]
        assert page.locator(".said p").all_inner_texts() == ["Hello, Bob!", "Hello, Ada!"]
        assert page.locator(".said.mine").count() == 1
    bob.close()
    see(ada, "Bob left", ".notice")
    assert ada.locator("#members b").all_inner_texts() == ["Ada"]


def test_long_draft_covers_nothing(enter: Enter) -> None:
    ada, bob = enter("Ada", viewport=PHONE), enter("Bob")
    for number in range(20):
        say(bob, f"Message {number}")
    see(ada, "Message 19")
    ada.fill("#text", "one\ntwo\nthree\nfour")
    api.expect(ada.locator(".said").last).to_be_in_viewport(ratio=1)
    ada.evaluate("document.getElementById('log').scrollTop = 0")
    say(bob, "Are you still reading?")
    latest, composer = ada.locator("#latest"), ada.locator("#composer")
    api.expect(latest).to_be_visible()
    button, draft = latest.bounding_box(), composer.bounding_box()
    assert button["y"] + button["height"] <= draft["y"]
    latest.click()
    api.expect(ada.locator(".said").last).to_be_in_viewport(ratio=1)


def test_markup_stays_text(enter: Enter) -> None:
    markup = "<img src=x onerror='document.title = 1'><script>document.title = 1</script>"
    ada, eve = enter("Ada"), enter("<i>Eve</i>")
    see(ada, "<i>Eve</i> joined", ".notice")
    say(eve, markup)
    see(ada, markup)
    for page in ada, eve:
        assert page.locator("#log img, #log script, #log i, #members i, #me i").count() == 0
        assert page.title() == "lobby · asyncflask chat"


def test_rooms_on_a_phone(enter: Enter) -> None:
    ada = enter("Ada", viewport=PHONE, is_mobile=True, has_touch=True)
    bob = enter("Bob")
    api.expect(ada.locator("#rooms a[data-room=music]")).to_be_hidden()
    ada.tap("#menu")
    ada.tap("#rooms a[data-room=music]")
    see(ada, "You are in music, as Ada", ".notice")
    assert ada.url.endswith("/music")
    api.expect(ada.locator("#title")).to_have_text("music")
    see(bob, "Ada left", ".notice")
    api.expect(bob.locator("#rooms a[data-room=music] .count")).to_have_text("1")
    say(bob, "Where is everybody?")
    see(bob, "Where is everybody?")
    ada.fill("#text", "Here.")
    ada.tap("#send")
    see(ada, "Here.")
    assert ada.locator(".said").count() == 1
    width = ada.evaluate("document.documentElement.scrollWidth")
    assert width == PHONE["width"]  # Nothing sticks out at the side.
    ada.go_back()
    see(ada, "Where is everybody?")


def test_name_is_remembered_and_may_be_changed(enter: Enter) -> None:
    ada = enter("Ada")
    ada.reload()
    see(ada, "You are in lobby, as Ada", ".notice")
    ada.click("#me")
    ada.fill("#name", "Countess Lovelace")
    ada.click("#hello button")
    see(ada, "You are in lobby, as Countess Lovelace", ".notice")
    # A name that only the server finds fault with.
    ada.click("#me")
    ada.fill("#name", "A\u202eda")
    ada.click("#hello button")
    see(ada, "visible characters", "#refusal")
    ada.fill("#name", "Ada")
    ada.click("#hello button")
    see(ada, "You are in lobby, as Ada", ".notice")


def test_connection_comes_back(enter: Enter, server: Server) -> None:
    ada, bob = enter("Ada"), enter("Bob")
    assert server.stop() == 0
    api.expect(ada.locator("#status")).to_contain_text("Reconnecting", timeout=45_000)
    with Server("app:app", app_dir=CHAT, port=server.port):
        for page in ada, bob:
            wait_until_in(page)
        say(ada, "Did you notice anything?")
        see(bob, "Did you notice anything?")


@needs_redis
def test_two_workers_and_a_redis_that_restarts(browser: Any, open_page: OpenPage) -> None:
    with Redis() as redis:
        env = {"ROOMS_URL": redis.url}
        with Server("app:app", app_dir=CHAT, args=["--workers", "2"], env=env) as server:
            ada, bob = open_page(server, "Ada"), open_page(server, "Bob")
            for _ in range(50):  # the system deals connections out as it likes
                if worker_of(bob) != worker_of(ada):
                    break
                bob.reload()
                wait_until_in(bob)
            assert worker_of(bob) != worker_of(ada)
            workers = {"Ada": worker_of(ada), "Bob": worker_of(bob)}
            for page in ada, bob:
                for name, worker in workers.items():
                    see(page, f"pid {worker}", f"#members li:has(b:text-is('{name}')) .pid")
            say(ada, "Hello from one process")
            see(bob, "Hello from one process")
            say(bob, "Hello from the other")
            see(ada, "Hello from the other")
            redis.stop()
            say(ada, "Is anybody there?")  # goes out as soon as there is a way
            redis.start()
            see(bob, "Is anybody there?")
            say(bob, "I am back")
            for page in ada, bob:
                see(page, "I am back")
                assert page.locator(".said p").all_inner_texts()[-2:] == [
                    "Is anybody there?",
                    "I am back",
                ]
                assert worker_of(page) == workers["Ada" if page is ada else "Bob"]
                api.expect(page.locator("#members b")).to_have_text(["Ada", "Bob"])


def worker_of(page: Any) -> str:
    return str(page.locator("#status").get_attribute("data-pid"))
