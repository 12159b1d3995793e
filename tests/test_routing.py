"""`Map.find`: the same matches as Werkzeug's, or none."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from werkzeug.exceptions import Forbidden, HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import (
    BaseConverter,
    BuildError,
    EndpointPrefix,
    Rule,
    Subdomain,
    Submount,
    ValidationError,
)
from werkzeug.routing import Map as WerkzeugMap
from werkzeug.routing.exceptions import RequestRedirect

from asyncflask import Flask, url_for
from asyncflask.app_context import UNBOUND
from asyncflask.ctx import _cv_request
from asyncflask.routing import NOT_FOUND, Map, Match, in_braces


class Grouped(BaseConverter):
    """A converter with groups of its own."""

    regex = r"(a|b)(c|d)?"


class Slashes(BaseConverter):
    regex = r".+?"
    part_isolating = False


class Refusing(BaseConverter):
    def to_python(self, value: str) -> str:
        if value == "no":
            raise ValidationError
        return value.upper()


CONVERTERS: Any = {"grouped": Grouped, "slashes": Slashes, "refusing": Refusing}


def same(url_map: Map, path: str, method: str = "GET", websocket: bool = False) -> Any:
    """What is found for *path*, with all values, after checking that Werkzeug finds the same. An
    error of its matching is given, not raised."""
    adapter = url_map.bind("localhost", path_info=path, default_method=method)
    try:
        expected = outcome(partial(adapter.match, return_rule=True, websocket=websocket))
    except ValueError as error:  # of a redirect that cannot be built
        expected = error
    found = url_map.find(path, method, websocket)
    if found is None:
        return None
    if found is NOT_FOUND:
        assert type(expected) is NotFound, path
        return NOT_FOUND
    values = found.values if found.pending is None else outcome(found.pending)
    if isinstance(values, HTTPException):
        assert type(values) is type(expected), path
        if isinstance(values, MethodNotAllowed):
            assert isinstance(expected, MethodNotAllowed)
            assert sorted(values.valid_methods or ()) == sorted(expected.valid_methods or ())
        return values
    assert (found.rule, values) == expected, path
    return found._replace(values=values)


def outcome(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except HTTPException as error:
        return error


def map_of(*rules: Any, **options: Any) -> Map:
    return Map([Rule(rule, endpoint=rule) for rule in rules], converters=CONVERTERS, **options)


@pytest.mark.parametrize(
    ("rule", "path", "values"),
    [
        ("/", "/", {}),
        ("/a", "/a", {}),
        ("/a/", "/a/", {}),
        ("/a/b/c", "/a/b/c", {}),
        ("/<name>", "/x", {"name": "x"}),
        ("/<name>/", "/x/", {"name": "x"}),
        ("/<int:a>/<float:b>/<c>", "/1/2.5/x", {"a": 1, "b": 2.5, "c": "x"}),
        ("/<a>-<b>", "/1-2", {"a": "1", "b": "2"}),
        ("/files/<path:name>", "/files/a/b.txt", {"name": "a/b.txt"}),
        ("/files/<path:name>/", "/files/a/b/", {"name": "a/b"}),
        ("/<path:name>/edit", "/a/b/edit", {"name": "a/b"}),
        ("/<grouped:a>/<b>", "/ac/x", {"a": "ac", "b": "x"}),
        ("/<slashes:a>/end", "/a/b/end", {"a": "a/b"}),
        ("/<refusing:a>", "/yes", {"a": "YES"}),
        ("/<any(x, y):a>", "/y", {"a": "y"}),
        ("/ü/<a>", "/ü/é", {"a": "é"}),
    ],
)
def test_match(rule: str, path: str, values: dict[str, Any]) -> None:
    found = same(map_of(rule), path)
    assert found is not None
    assert (found[0].endpoint, found[1]) == (rule, values)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/a", "/b"),
        ("/<int:a>", "/x"),
        ("/<int(max=5):a>", "/7"),
        ("/<any(x, y):a>", "/z"),
        ("/a", "/a/b"),
        ("/a/b", "/a"),
        ("/<a>", "/"),
    ],
)
def test_not_found(rule: str, path: str) -> None:
    assert same(map_of(rule), path) is NOT_FOUND


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/a/", "/a"),
        ("/<a>/", "/x"),
        ("/a/b", "/a//b"),
        ("/c", "/a//b"),
    ],
)
def test_left_to_werkzeug(rule: str, path: str) -> None:
    assert same(map_of(rule), path) is None


def test_converters_of_the_app_are_pending() -> None:
    """They are called once, when the request's context is there and the thread is right."""
    url_map = map_of("/<refusing:a>/<int:b>")
    found = url_map.find("/yes/2", "GET")
    assert isinstance(found, Match)
    assert found.pending is not None
    assert (found.values, found.pending()) == ({}, {"a": "YES", "b": 2})


def test_converter_without_a_function_of_its_own_is_not_pending() -> None:
    found = map_of("/<grouped:a>/<int:b>").find("/ac/2", "GET")
    assert found == (found.rule, {"a": "ac", "b": 2}, None)  # type: ignore[union-attr]


def test_converter_that_refuses() -> None:
    """Once the path fits a rule no other is tried: Werkzeug's documentation says otherwise."""
    assert type(same(map_of("/<refusing:a>", "/<path:b>"), "/no")) is NotFound
    url_map = Map(
        [
            Rule("/<refusing:a>", endpoint="post", methods=["POST"]),
            Rule("/<refusing:a>", endpoint="get", methods=["GET"]),
        ],
        converters=CONVERTERS,
    )
    assert type(same(url_map, "/no")) is MethodNotAllowed
    assert type(same(url_map, "/no", "POST")) is NotFound


def test_what_a_converter_raises_is_raised() -> None:
    class Guarded(BaseConverter):
        def to_python(self, value: str) -> str:
            raise Forbidden

    url_map = Map([Rule("/<guarded:a>", endpoint="a")], converters={"guarded": Guarded})
    found = url_map.find("/x", "GET")
    assert isinstance(found, Match)
    assert found.pending is not None
    with pytest.raises(Forbidden):
        found.pending()


@pytest.mark.parametrize("path", ["//a", "/a", "///a", "a", "", "/x//a", "//x//a", "//"])
def test_slashes_at_the_start(path: str) -> None:
    """Of a request's path one counts; see `MapAdapter.match`."""
    url_map = map_of("//a", "/x//a", "/", "/<name>", merge_slashes=False)
    same(url_map, path)
    assert same(url_map, "//a").values == {"name": "a"}
    assert same(url_map, "/x//a").rule.rule == "/x//a"


def test_each_regular_expression_is_tried_once() -> None:
    url_map = map_of("/<int:a>/x", "/<int:a>/y", "/<b>/z", "/<path:c>/end")
    start = url_map._new_tree().root.static[""].static[""]
    tried: list[str] = []
    for way in start.ways:

        def match(text: str, match: Any = way.match) -> Any:
            tried.append(text)
            return match(text)

        way.match = match  # type: ignore[assignment]
    assert same(url_map, "/1/none") is NOT_FOUND
    assert sorted(tried) == ["1", "1", "1/none"]


def test_what_is_fixed_comes_first() -> None:
    url_map = map_of("/<name>", "/a", "/<int:number>", "/<a>/b", "/a/<b>", "/<path:rest>")
    paths = {
        "/a": "/a",
        "/x": "/<name>",
        "/1": "/<int:number>",
        "/a/b": "/a/<b>",
        "/x/b": "/<a>/b",
        "/x/y": "/<path:rest>",
    }
    assert {path: same(url_map, path)[0].endpoint for path in paths} == paths


def test_methods_and_websockets() -> None:
    url_map = Map(
        [
            Rule("/", endpoint="get", methods=["GET"]),
            Rule("/", endpoint="post", methods=["POST"]),
            Rule("/", endpoint="socket", websocket=True),
            Rule("/<a>", endpoint="put", methods=["PUT"]),
            Rule("/<b>", endpoint="any", methods=["GET"]),
        ]
    )
    assert same(url_map, "/")[0].endpoint == "get"
    assert same(url_map, "/", "HEAD")[0].endpoint == "get"
    assert same(url_map, "/", "POST")[0].endpoint == "post"
    assert same(url_map, "/", "PUT") is None  # 405
    assert same(url_map, "/", websocket=True)[0].endpoint == "socket"
    assert same(url_map, "/x", "PUT")[0].endpoint == "put"
    assert same(url_map, "/x")[0].endpoint == "any"
    assert same(url_map, "/x", websocket=True) is None  # 400


def test_redirects_are_left_to_werkzeug() -> None:
    url_map = Map(
        [
            Rule("/all/", endpoint="list", defaults={"page": 1}),
            Rule("/all/<int:page>", endpoint="list"),
            Rule("/old", endpoint="old", redirect_to="new"),
            Rule("/alias", endpoint="new", alias=True),
            Rule("/new", endpoint="new"),
        ]
    )
    assert same(url_map, "/all/")[1] == {"page": 1}
    for path in ("/all/1", "/old", "/alias"):
        assert same(url_map, path) is None
        with pytest.raises(RequestRedirect):
            url_map.bind("localhost").match(path)
    assert url_map.bind("localhost").match("/all/2") == ("list", {"page": 2})


def test_slashes_that_do_not_matter() -> None:
    url_map = map_of("/a/", "/<b>/", "/c", "/<path:d>/", strict_slashes=False, merge_slashes=False)
    for path in ("/a", "/a/", "/x", "/x/", "/c", "/c/", "/a/b", "/a/b/", "//", "/a//"):
        same(url_map, path)
    assert same(url_map, "/a")[0].endpoint == "/a/"
    assert same(url_map, "/x")[0].endpoint == "/<b>/"


def test_rule_that_is_added_later() -> None:
    url_map = map_of("/a", "/<b>")
    assert same(url_map, "/c")[0].endpoint == "/<b>"
    url_map.add(Rule("/c", endpoint="/c"))
    assert same(url_map, "/c")[0].endpoint == "/c"
    url_map.add(Submount("/d", [Rule("/<e>", endpoint="/d/<e>"), Rule("/f", endpoint="/d/f")]))
    assert same(url_map, "/d/x")[1] == {"e": "x"}


def test_default_subdomain_alone() -> None:
    url_map = Map(
        [
            Rule("/", endpoint="www", subdomain="www"),
            Subdomain("api", [EndpointPrefix("api.", [Rule("/x", endpoint="x")])]),
        ],
        default_subdomain="www",
    )
    assert same(url_map, "/")[0].endpoint == "www"
    assert same(url_map, "/x") is NOT_FOUND


PARTS = ["a", "b", "", "1", "ac", "a-b", "no", "x.y"]
RULE_PARTS = [
    *("a", "b", "1", "<x>", "<int:x>", "<path:x>", "<grouped:x>", "<refusing:x>", "<x>-<y>"),
    *("<slashes:x>", "a<x>", "<any(a, b):x>", "<string(length=2):x>", "<float:x>"),
]


@pytest.mark.parametrize("seed", range(60))
def test_any_map(seed: int) -> None:
    """Whatever the rules and the URL: the same answer, or none."""
    chance = random.Random(seed)
    rules = []
    for number in range(chance.randint(1, 14)):
        parts = [chance.choice(RULE_PARTS) for _ in range(chance.randint(0, 3))]
        # The name of a placeholder may be in a rule once.
        names = (f"v{index}" for index in itertools.count())
        text = "/".join(
            part.replace("x>", f"{next(names)}>").replace("<y>", f"<{next(names)}>")
            for part in parts
        )
        websocket = chance.random() < 0.1
        rules.append(
            Rule(
                f"/{text}{chance.choice(['', '/']) if text else ''}",
                endpoint=chance.choice([number, "shared"]),
                defaults=chance.choice([None, None, {"v0": 1}]) if "v0>" not in text else None,
                alias=chance.random() < 0.05,
                methods=None if websocket else chance.choice([None, ["GET"], ["POST"]]),
                websocket=websocket,
                strict_slashes=chance.choice([None, True, False]),
                merge_slashes=chance.choice([None, True, False]),
            )
        )
    url_map = Map(converters=CONVERTERS, strict_slashes=chance.random() < 0.5)
    for rule in rules:
        try:
            url_map.add(rule)
        except Exception as error:  # Werkzeug 3.2 refuses a rule that another one hides
            assert type(error).__name__ == "DuplicateRuleError", error
    found = 0
    for _ in range(300):
        path = "/" + "/".join(chance.choice(PARTS) for _ in range(chance.randint(0, 4)))
        method, websocket = chance.choice(["GET", "POST"]), chance.random() < 0.1
        found += same(url_map, path, "GET" if websocket else method, websocket) is not None
    assert found or seed  # seed 0 finds some: the comparison is not empty


def test_rule_added_while_a_url_is_matched() -> None:
    """By another thread: not an error, and not a 404 for the next one."""
    url_map = Map([Rule("/a/b", endpoint="old"), Rule("/a/<x>/c", endpoint="c")])
    assert url_map.find("/a/b", "GET", False)
    before = url_map._tree
    url_map.add(Rule("/a/b/<int:id>", endpoint="new"))
    url_map._tree = before  # as the other request has it
    assert url_map.find("/a/b", "GET", False)
    assert url_map.find("/a/b/7", "GET", False) is NOT_FOUND  # as before the rule came
    assert url_map.bind("localhost").match("/a/b/7") == ("new", {"id": 7})
    url_map._tree = None
    found = url_map.find("/a/b/7", "GET", False)
    assert isinstance(found, Match) and found.rule.endpoint == "new"


def test_rule_added_between_update_and_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    url_map = Map([Rule("/<path:rest>", endpoint="rest")])
    update = Map.update

    def update_then_add(self: Map) -> None:
        update(self)
        monkeypatch.undo()
        self.add(Rule("/<int:id>", endpoint="id"))

    monkeypatch.setattr(Map, "update", update_then_add)
    found = url_map.find("/7", "GET", False)
    assert isinstance(found, Match) and found.rule.endpoint == "id"


def test_app_with_a_map_of_werkzeugs() -> None:
    """`url_map_class` may be any."""

    class Own(Flask):
        url_map_class = WerkzeugMap

    app = Own("routing_test", static_folder=None)
    app.add_url_rule("/<int:a>", "view", lambda a: str(a))
    assert app.test_client().get("/7").text == "7"
    assert app.test_client().get("/x").status_code == 404


BUILT = [
    ("/", {}),
    ("/", {"q": "a b", "more": ["x", "y"], "none": None}),
    ("/<name>", {"name": "x/y ü"}),
    ("/<name>", {}),
    ("/<name>", {"name": None}),
    ("/<int:a>", {"a": 7}),
    ("/<int:a>", {"a": "x"}),
    ("/files/<path:name>", {"name": "/a/b.txt"}),
    ("/<any(x, y):a>", {"a": "z"}),
]


@pytest.mark.parametrize(("rule", "values"), BUILT)
@pytest.mark.parametrize("root_path", ["", "/mounted"])
def test_build_path(rule: str, values: dict[str, Any], root_path: str) -> None:
    url_map = map_of(*{rule for rule, _ in BUILT})
    adapter = url_map.bind("localhost", script_name=root_path)
    try:
        expected = adapter.build(rule, values)
    except (BuildError, ValueError) as error:
        if isinstance(error, BuildError):
            assert url_map.build_path(rule, values, "GET") is None
        else:
            with pytest.raises(type(error)):
                url_map.build_path(rule, values, "GET")
        return
    for _ in range(2):  # the second time by what was learnt
        path = url_map.build_path(rule, values, "GET")
        assert f"{root_path}/{path}" == expected


def test_build_path_is_left_to_werkzeug() -> None:
    url_map = Map(
        [
            Rule("/socket", endpoint="socket", websocket=True),
            Subdomain("api", [Rule("/api", endpoint="api")]),
            Rule("/post", endpoint="post", methods=["POST"]),
        ]
    )
    for endpoint in ("socket", "api", "post", "missing"):
        assert url_map.build_path(endpoint, {}, "GET") is None
    assert url_map.build_path("post", {}, "POST") == "post"


def test_build_path_takes_the_rule_that_fits() -> None:
    url_map = Map(
        [
            Rule("/all/", endpoint="list", defaults={"page": 1}),
            Rule("/all/<int:page>", endpoint="list"),
            Rule("/items", endpoint="item", methods=["GET"]),
            Rule("/items/new", endpoint="item", methods=["POST"]),
        ]
    )
    adapter = url_map.bind("localhost")
    for endpoint, values, method in (
        ("list", {}, "GET"),
        ("list", {"page": 1}, "GET"),
        ("list", {"page": 2}, "GET"),
        ("item", {}, "GET"),
        ("item", {}, "POST"),
    ):
        path = url_map.build_path(endpoint, values, method)
        assert f"/{path}" == adapter.build(endpoint, values, method)


def test_build_path_follows_every_change() -> None:
    url_map = Map([Rule("/items/<int:id>", endpoint="item", methods=["GET"])])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"id": 1}, "GET"),
        ({"id": 1, "page": 2}, "GET"),
        ({"id": 1, "page": None}, "GET"),
        ({"id": None}, "GET"),
        ({}, "GET"),
        ({"id": 1}, "POST"),
    ]

    def built(path: bool) -> list[str | None]:
        found: list[str | None] = []
        for values, method in cases:
            try:
                if path:
                    found.append(url_map.build_path("item", values, method))
                else:
                    found.append(url_map.bind("").build("item", values, method)[1:])
            except BuildError:
                found.append(None)
        return found

    assert built(path=True) == built(path=True) == built(path=False)
    url_map.add(Rule("/new", endpoint="item", methods=["POST"]))
    assert built(path=True) == built(path=True) == built(path=False)
    url_map.add(Rule("/paged/<int:id>/<int:page>", endpoint="item", methods=["GET"]))
    assert built(path=True) == built(path=True) == built(path=False)
    for rule in url_map.iter_rules():
        rule.methods = {"POST"}
    assert built(path=True) == built(path=False)


def test_build_path_of_a_converter_that_refuses() -> None:
    class Even(BaseConverter):
        def to_url(self, value: int) -> str:
            if value % 2:
                raise ValidationError
            return str(value)

    rules = [Rule("/even/<even:id>", endpoint="it"), Rule("/any/<int:id>", endpoint="it")]
    url_map = Map(rules, converters={"even": Even})
    for id in (2, 3, 2, 3):
        assert url_map.build_path("it", {"id": id}, "GET") == f"{'any' if id % 2 else 'even'}/{id}"


def test_url_for_binds_no_adapter() -> None:
    app = Flask("routing_test")
    bound: list[bool] = []

    @app.get("/items/<int:id>")
    async def item(id: int) -> str:
        url = url_for("item", id=id + 1)
        bound.append(_cv_request.get()._url_adapter is not UNBOUND)
        return url

    @app.get("/own/<int:id>")
    async def own(id: int) -> str:
        _cv_request.get().url_adapter = app.url_map.bind("localhost", script_name="/elsewhere")
        return url_for("item", id=id)

    client = app.test_client()
    assert client.get("/items/1").text == "/items/2"
    assert bound == [False]
    assert client.get("/own/1").text == "/elsewhere/items/1"


def test_url_for_of_another_app() -> None:
    app, other = Flask("routing_test"), Flask("other")
    other.add_url_rule("/elsewhere", "index", lambda: "")

    @app.get("/here")
    async def index() -> str:
        return other.url_for("index")

    assert app.test_client().get("/here").text == "/here"


@pytest.mark.parametrize("rule", ["/fixed", "/<name>"])
def test_methods_that_are_changed_later(rule: str) -> None:
    url_map = Map([Rule(rule, endpoint="it", methods=["GET", "POST"])])
    assert same(url_map, "/fixed", "POST") is not None
    for known in url_map.iter_rules():
        assert known.methods is not None
        known.methods.discard("POST")
    assert same(url_map, "/fixed", "POST") is None
    assert same(url_map, "/fixed") is not None


def test_braces_are_not_looked_for_in_long_paths() -> None:
    rules = [Rule("/{a}-{b}-{c}")]
    assert in_braces(rules, "/1-2-3") == ("/1-2-3", "/{a}-{b}-{c}", "/<a>-<b>-<c>")
    assert in_braces(rules, f"/{'-' * 60_000}/") is None  # it would take days
