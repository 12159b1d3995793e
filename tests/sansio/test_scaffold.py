"""What apps and blueprints have in common, tried on both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import FileSystemLoader
from werkzeug.exceptions import HTTPException, NotFound

from asyncflask import Blueprint, Flask
from asyncflask.sansio.scaffold import Scaffold, _endpoint_from_view_func


def make_app(**options: Any) -> Scaffold:
    return Flask("scaffold_test", **options)


def make_blueprint(**options: Any) -> Scaffold:
    return Blueprint("blue", "scaffold_test", **options)


both = pytest.mark.parametrize("make", [make_app, make_blueprint])
Make = Callable[..., Scaffold]


def view() -> str:
    return ""


# -- files ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("folder", "url_path", "expected"),
    [
        ("assets", None, ("/mounted/assets", "/assets")),
        ("assets/", None, ("/mounted/assets", "/assets")),
        (Path("deep/assets"), None, ("/mounted/deep/assets", "/assets")),
        ("/elsewhere", "/files/", ("/elsewhere", "/files")),
        (None, None, (None, None)),
        (None, "/files", (None, "/files")),
    ],
)
def test_static_folder(
    make: Make,
    folder: str | Path | None,
    url_path: str | None,
    expected: tuple[str | None, str | None],
) -> None:
    scaffold = make(static_folder=None, root_path="/mounted")
    scaffold.static_folder = folder
    scaffold.static_url_path = url_path
    assert (scaffold.static_folder, scaffold.static_url_path) == expected
    assert scaffold.has_static_folder == (folder is not None)


@both
def test_jinja_loader(make: Make) -> None:
    loader = make(template_folder="pages", root_path="/mounted").jinja_loader
    assert isinstance(loader, FileSystemLoader)
    assert loader.searchpath == ["/mounted/pages"]
    assert make(template_folder=None).jinja_loader is None


def test_root_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_by_name.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert Blueprint("b", "found_by_name").root_path == str(tmp_path)


# -- routes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "patch"])
def test_shortcut_of_a_method(method: str) -> None:
    app = Flask(__name__, static_folder=None)
    assert getattr(app, method)("/", endpoint="e")(view) is view
    [rule] = app.url_map.iter_rules()
    assert rule.endpoint == "e"
    assert method.upper() in (rule.methods or ())

    with pytest.raises(TypeError, match=r"\.route\('/', methods=\['GET'\]\)"):
        getattr(app, method)("/", methods=["GET"])


def test_route_gives_the_view_back() -> None:
    app = Flask(__name__, static_folder=None)
    assert app.route("/")(view) is view
    assert app.websocket("/ws", endpoint="ws")(view) is view
    assert app.view_functions == {"view": view, "ws": view}


@both
def test_endpoint(make: Make) -> None:
    scaffold = make()
    assert scaffold.endpoint("later")(view) is view
    assert scaffold.view_functions["later"] is view


def test_default_endpoint() -> None:
    assert _endpoint_from_view_func(view) == "view"
    with pytest.raises(AssertionError):
        _endpoint_from_view_func(None)


# -- hooks ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("decorator", "registry"),
    [
        ("before_request", "before_request_funcs"),
        ("after_request", "after_request_funcs"),
        ("teardown_request", "teardown_request_funcs"),
        ("context_processor", "template_context_processors"),
        ("url_value_preprocessor", "url_value_preprocessors"),
        ("url_defaults", "url_default_functions"),
    ],
)
def test_hook(make: Make, decorator: str, registry: str) -> None:
    scaffold = make()
    assert getattr(scaffold, decorator)(view) is view
    assert getattr(scaffold, registry)[None][-1] is view
    # Extensions append to the entry of a scope that has none yet.
    assert getattr(scaffold, registry)["new scope"] == []


# -- errors ---------------------------------------------------------------------------------


class Teapot(HTTPException):
    code = 418


@both
@pytest.mark.parametrize(
    ("what", "code", "exc_class"),
    [
        (404, 404, NotFound),
        (NotFound, 404, NotFound),
        (Teapot, 418, Teapot),
        (HTTPException, None, HTTPException),
        (LookupError, None, LookupError),
    ],
)
def test_errorhandler(
    make: Make, what: type[Exception] | int, code: int | None, exc_class: type[Exception]
) -> None:
    def handler(error: Exception) -> str:
        return ""

    scaffold = make()
    assert scaffold.errorhandler(what)(handler) is handler
    assert scaffold.error_handler_spec[None][code] == {exc_class: handler}


@both
@pytest.mark.parametrize(
    ("what", "error"), [(999, ValueError), (list, ValueError), (KeyError(), TypeError)]
)
def test_errorhandler_of_nothing(make: Make, what: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make().register_error_handler(what, lambda error: "")
