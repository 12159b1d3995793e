"""Commands of apps: the hint for an app that is not found."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asyncflask.cli import NoAppException, ScriptInfo

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def imports() -> Iterator[None]:
    """What is imported is gone after each test."""
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module into a folder that is the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


# -- an app that is not found -----------------------------------------------------------------


def not_found(path: str) -> str:
    """What is said of an app that is not at *path*."""
    with pytest.raises(NoAppException) as caught:
        ScriptInfo(path).load_app()
    return caught.value.message


SHOP = """
    from asyncflask import Flask

    class Shop(Flask):
        pass

    shop = Shop(__name__)
    site = Flask("site")

    @shop.get("/sop")
    def sop():
        return "a view"

    def create_shop():
        return Shop("made")

    def create_later():
        from asyncflask import Flask
        return Flask("later")
"""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sho", "Did you mean 'shops:shop'?"),
        ("create_shp", "Did you mean 'shops:create_shop'?"),
        ("creat_later()", "Did you mean 'shops:create_later'?"),
        (
            "nothing",
            "The applications and factories there: 'shops:shop', 'shops:site',"
            " 'shops:create_shop', 'shops:create_later'.",
        ),
    ],
)
def test_misspelt_names_are_those_of_apps_and_factories(
    write: Write, name: str, hint: str
) -> None:
    write("shops.py", SHOP)
    assert not_found(f"shops:{name}").endswith(hint)


def test_names_of_views_are_not_suggested(write: Write) -> None:
    write("shops.py", "def index():\n    return 'a view of a blueprint'\n")
    assert not_found("shops:indx") == (
        "The module 'shops' has no 'indx'. It has no Flask application either, and no"
        " function that makes one."
    )


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("shps", "Did you mean 'shops'?"),
        ("shps:shop", "Did you mean 'shops'?"),
        ("stores.sops", "Did you mean 'stores.shops'?"),
        ("store", "Did you mean 'stores'?"),
        ("shops.shop", "Did you mean 'shops:shop'?"),
        ("shops.sop", "on Python's path."),
        ("zzz", "For 'app.py', leave out '--app'."),
    ],
)
def test_misspelt_modules(write: Write, path: str, hint: str) -> None:
    write("shops.py", SHOP)
    write("app.py", "")
    write("stores/__init__.py", "")
    write("stores/shops.py", SHOP)
    assert not_found(path).endswith(hint)
