"""Sessions: the objects, the signed cookie (which Flask can read), and other interfaces."""

from __future__ import annotations

import hashlib
import importlib.util
import json as stdlib_json
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import werkzeug
from itsdangerous import (
    BadData,
    BadSignature,
    Signer,
    TimestampSigner,
    URLSafeTimedSerializer,
    base64_encode,
)
from markupsafe import Markup
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.http import dump_cookie

from asyncflask import Flask, Request, Response, session
from asyncflask.sessions import (
    NullSession,
    SecureCookieSession,
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
    may_renew,
)
from support.asgi import exchange, http_scope

# Made by Flask 3.1.3 with the secret key "test key", at the time below.
SIGNED_AT = 1_700_000_000
SMALL = {"user": 1}
SMALL_COOKIE = "eyJ1c2VyIjoxfQ.ZVPxAA.XIrUHueZhpP8oNGhm8pMPdT9v7Q"
SMALL_COOKIE_OF_OLD_KEY = "eyJ1c2VyIjoxfQ.ZVPxAA.za8_6PduAo9bkNVFWgfg2f_rWtk"
NAN_COOKIE = "eyJ4IjpOYU59.ZVPxAA.pYCcvjDavgbSkBfl1auZNKbvs0o"
LARGE = {
    "user": 1,
    "tuple": (1, [b"\xff"]),
    "html": Markup("<b>"),
    "id": UUID(int=7),
    "when": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    "tagged": {" t": "no tuple"},
}
LARGE_COOKIE = (
    ".eJx9jk0LwjAQRP_KMueASRTEYD3qyVtvpRRDQ1voh2hCDyX_3W1yd0_D4w07G8LXfWCUgA_v0cFsIA9TKVFxsjA4"
    "rEWBWNdRoPfTmIyJ-dXewGxoEwlM5P877_rauzkVuIayD4L0he7Okpb6REqbozRS0uNZ7rZ_dZ3LD9ohb2saLs4L"
    "5bkxxh-naTPC.ZVPxAA.AtUgzMse1GDi0z4fz10xGeuJaZk"
)


@pytest.fixture
def app() -> Flask:
    app = Flask("session_test")
    app.secret_key = "test key"
    app.testing = True
    app.permanent_session_lifetime = timedelta(days=36_500)  # the cookies above grow old

    @app.get("/set")
    def set_() -> str:
        session["user"] = 1
        return ""

    @app.get("/get")
    def get() -> str:
        return str(session.get("user"))

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return ""

    @app.get("/untouched")
    def untouched() -> str:
        return ""

    return app


def contents(app: Flask, cookie: str) -> dict[str, Any]:
    """What a request with this cookie finds in its session."""
    with app.test_request_context(headers={"Cookie": f"session={cookie}"}):
        return dict(session)


class TestSession:
    def test_permanent_is_a_key(self) -> None:
        session = SecureCookieSession()
        assert session.permanent is False
        session.permanent = True
        assert session == {"_permanent": True}

    def test_initial_contents_are_no_change(self) -> None:
        assert SecureCookieSession({"a": 1}).modified is False

    @pytest.mark.parametrize(
        "change",
        [
            lambda session: session.update(b=1),
            lambda session: session.pop("a"),
            lambda session: session.setdefault("b", 1),
            lambda session: session.clear(),
            lambda session: session.__setitem__("a", 2),
            lambda session: session.__delitem__("a"),
        ],
    )
    def test_changes(self, change: Callable[[SecureCookieSession], object]) -> None:
        session = SecureCookieSession({"a": 1})
        change(session)
        assert session.modified is True

    def test_reading_is_no_change(self) -> None:
        session = SecureCookieSession({"a": [1]})
        assert session["a"] == [1]
        session.setdefault("a", 1)
        assert session.modified is False

    def test_null_session_is_read_only(self) -> None:
        session = NullSession()
        assert session.get("a") is None
        assert "a" not in session

        with pytest.raises(RuntimeError, match=r"session is unavailable.*secret_key"):
            session["a"] = 1

        with pytest.raises(RuntimeError, match="session is unavailable"):
            session |= {"a": 1}


class TestCookie:
    @pytest.mark.parametrize(("value", "cookie"), [(SMALL, SMALL_COOKIE), (LARGE, LARGE_COOKIE)])
    def test_of_flask_is_read(self, app: Flask, value: dict[str, Any], cookie: str) -> None:
        assert contents(app, cookie) == value

    def test_is_what_flask_writes(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: SIGNED_AT)
        client = app.test_client()
        client.get("/set")
        cookie = client.get_cookie("session")
        assert cookie is not None
        assert cookie.value == SMALL_COOKIE

    def test_with_numbers_that_json_has_not(self, app: Flask) -> None:
        assert str(contents(app, NAN_COOKIE)) == "{'x': nan}"

    @pytest.mark.parametrize(
        "cookie", ["", "x", SMALL_COOKIE[:-1], f"x{SMALL_COOKIE}", SMALL_COOKIE_OF_OLD_KEY]
    )
    def test_wrong_signature(self, app: Flask, cookie: str) -> None:
        assert contents(app, cookie) == {}

    def test_too_old(self, app: Flask) -> None:
        app.permanent_session_lifetime = timedelta(days=1)
        assert contents(app, SMALL_COOKIE) == {}

    def test_fallback_keys_read(self, app: Flask) -> None:
        app.config["SECRET_KEY_FALLBACKS"] = ["older key", "old key"]
        assert contents(app, SMALL_COOKIE_OF_OLD_KEY) == SMALL
        assert contents(app, SMALL_COOKIE) == SMALL

    def test_fallback_keys_do_not_sign(self, app: Flask) -> None:
        app.config["SECRET_KEY_FALLBACKS"] = ["old key"]
        client = app.test_client()
        client.get("/set")
        app.config["SECRET_KEY_FALLBACKS"] = None
        assert client.get("/get").text == "1"

    def test_round_trip(self, app: Flask) -> None:
        client = app.test_client()
        assert client.get("/get").text == "None"
        client.get("/set")
        assert client.get("/get").text == "1"

    def test_cleared_session_deletes_it(self, app: Flask) -> None:
        client = app.test_client()
        client.get("/set")
        response = client.get("/clear")
        assert "Max-Age=0" in response.headers["Set-Cookie"]
        assert client.get_cookie("session") is None

    def test_attributes(self, app: Flask) -> None:
        app.config.update(
            SESSION_COOKIE_NAME="sid",
            SESSION_COOKIE_DOMAIN="example.com",
            SESSION_COOKIE_PATH="/shop",
            SESSION_COOKIE_HTTPONLY=False,
            SESSION_COOKIE_SECURE=True,
            SESSION_COOKIE_SAMESITE="Lax",
            SESSION_COOKIE_PARTITIONED=True,
        )
        header = app.test_client().get("/set").headers["Set-Cookie"]
        name, *attributes = header.split("; ")
        assert name.startswith("sid=")
        assert set(attributes) == {
            "Domain=example.com",
            "Path=/shop",
            "Secure",
            "SameSite=Lax",
            "Partitioned",
        }

    def test_default_attributes(self, app: Flask) -> None:
        header = app.test_client().get("/set").headers["Set-Cookie"]
        assert header.split("; ")[1:] == ["HttpOnly", "Path=/"]

    def test_path_of_the_application_root(self, app: Flask) -> None:
        app.config["APPLICATION_ROOT"] = "/shop"
        assert "Path=/shop" in app.test_client().get("/set").headers["Set-Cookie"]

    @pytest.mark.parametrize(("refresh", "is_set"), [(True, True), (False, False)])
    def test_permanent_is_refreshed(self, app: Flask, refresh: bool, is_set: bool) -> None:
        app.config["SESSION_REFRESH_EACH_REQUEST"] = refresh
        client = app.test_client()

        with client.session_transaction() as opened:
            opened.permanent = True

        response = client.get("/get")
        assert ("Expires=" in response.headers.get("Set-Cookie", "")) is is_set

    @pytest.mark.parametrize("value", [{"text": "x" * 500}, {"text": "\N{SNOWMAN}"}])
    def test_untouched_permanent_is_refreshed(self, app: Flask, value: dict[str, Any]) -> None:
        client = app.test_client()

        with client.session_transaction() as opened:
            opened.permanent = True
            opened.update(value)

        assert "Expires=" in client.get("/untouched").headers["Set-Cookie"]

    @pytest.mark.parametrize(
        ("permanent", "config", "opens"),
        [
            (False, {}, False),
            (True, {}, True),
            (True, {"SESSION_REFRESH_EACH_REQUEST": False}, False),
        ],
    )
    def test_untouched_is_not_verified_in_vain(
        self,
        app: Flask,
        permanent: bool,
        config: Any,
        opens: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        client = app.test_client()
        client.get("/set")

        if permanent:
            with client.session_transaction() as changed:
                changed.permanent = True

        app.config.update(config)
        opened: list[Request] = []
        open_session = SecureCookieSessionInterface.open_session

        def spy(self: Any, app: Any, request: Request) -> Any:
            opened.append(request)
            return open_session(self, app, request)

        monkeypatch.setattr(SecureCookieSessionInterface, "open_session", spy)
        response = client.get("/untouched")
        assert bool(opened) is opens
        assert ("Set-Cookie" in response.headers) is opens
        assert client.get("/get").text == "1"

    def test_untouched_of_a_class_that_is_always_permanent(
        self, app: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Permanent(SecureCookieSession):
            permanent = True

        client = app.test_client()
        client.get("/set")
        monkeypatch.setattr(SecureCookieSessionInterface, "session_class", Permanent)
        assert "Expires=" in client.get("/untouched").headers["Set-Cookie"]

    @pytest.mark.parametrize("cookie", ["", "x", "!", ".", ".x", "A", "\xe9", SMALL_COOKIE[:-1]])
    def test_untouched_and_malformed(self, app: Flask, cookie: str) -> None:
        client = app.test_client()
        client.set_cookie("session", cookie)
        assert "Set-Cookie" not in client.get("/untouched").headers

    def test_vary(self, app: Flask) -> None:
        client = app.test_client()
        assert "Vary" not in client.get("/untouched").headers
        assert client.get("/get").headers["Vary"] == "Cookie"
        assert client.get("/set").headers["Vary"] == "Cookie"
        assert "Vary" not in client.get("/untouched").headers

    def test_without_secret_key(self, app: Flask) -> None:
        app.secret_key = None
        client = app.test_client()
        assert client.get("/get").text == "None"

        with pytest.raises(RuntimeError, match="session is unavailable"):
            client.get("/set")


# Of each kind: too short to be compressed, not shorter if compressed, shorter; much shorter.
SIZES: list[dict[str, Any]] = [
    {"a": 1},
    {"": "::::::::"},
    {"visits": 3},
    {"user_id": 12345678},
    {"csrf_token": "d8e8fca2dc0f896fd7cb4cb0031ba249", "_user_id": "7"},
    {"_fresh": True, "_id": hashlib.sha512(b"x").hexdigest(), "_user_id": "1"},
    {"_flashes": [("message", "Saved."), ("error", "Not saved: \N{SNOWMAN}")]},
    {"cart": [{"id": number, "count": 1} for number in range(30)]},
    {"text": "x" * 5000},
]


def of_the_library(*keys: str) -> URLSafeTimedSerializer:
    """As Flask makes it."""
    return URLSafeTimedSerializer(
        keys,
        salt=SecureCookieSessionInterface.salt,
        serializer=SecureCookieSessionInterface.serializer,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
    )


def result_of(
    serializer: URLSafeTimedSerializer, cookie: str | bytes, max_age: int | None
) -> tuple[Any, ...]:
    try:
        return ("value", serializer.loads(cookie, max_age=max_age))
    except BadData as error:
        return (type(error), str(error))


# itsdangerous takes a module for a digest, as `hmac` does.
sha1_module = types.ModuleType("sha1_module")
sha1_module.new = hashlib.sha1  # type: ignore[attr-defined]


class TestSigningSerializer:
    @pytest.mark.parametrize("value", SIZES)
    def test_as_the_library(
        self, app: Flask, value: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app.config["SECRET_KEY_FALLBACKS"] = ["old key"]
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: SIGNED_AT)
        interface = SecureCookieSessionInterface()
        ours = interface.get_signing_serializer(app)
        theirs = of_the_library("old key", "test key")
        assert ours is not None
        cookie = theirs.dumps(value)
        assert ours.dumps(value) == cookie
        assert ours.loads(cookie) == theirs.loads(cookie)
        assert ours.loads(cookie, return_timestamp=True) == theirs.loads(
            cookie, return_timestamp=True
        )

        for wrong in (cookie[:-1], cookie[1:], cookie.replace(".", ""), "", "."):
            with pytest.raises(BadSignature) as raised:
                theirs.loads(wrong)
            with pytest.raises(type(raised.value)):
                ours.loads(wrong)

    @pytest.mark.parametrize("keys", [["test key"], ["old key"], ["old key", "test key"], ["x"]])
    @pytest.mark.parametrize("age", [0, 10, 11, -1])
    @pytest.mark.parametrize("max_age", [10, None])
    def test_accepts_as_the_library(
        self,
        app: Flask,
        keys: list[str],
        age: int,
        max_age: int | None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        app.config["SECRET_KEY_FALLBACKS"] = ["old key"]
        ours = SecureCookieSessionInterface().get_signing_serializer(app)
        theirs = of_the_library("old key", "test key")
        made_by = of_the_library(*keys)
        assert ours is not None
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: SIGNED_AT - age)
        stamped = made_by.dumps({"a": 1})
        signer = made_by.make_signer()
        payload, timestamp, _ = stamped.split(".")
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: SIGNED_AT)

        cookies: list[str | bytes] = [
            stamped,
            stamped.encode(),
            f"{stamped}=",  # base64 with what it need not have
            f"{stamped[:-1]}{chr(ord(stamped[-1]) + 1)}",
            *(
                Signer.sign(signer, text)
                for text in (payload, f"{payload}.", f"{payload}.!", f"{payload}.x", "", ".")
            ),
            # base64 with characters that are not of its alphabet, and of the other alphabet
            *(
                Signer.sign(signer, f"{text}.{timestamp}")
                for text in (f"{payload[:4]}!{payload[4:]}", f" {payload}\n", "Pz8_", "Pz8/", "!")
            ),
            Signer.sign(signer, f"{payload}.{'A' * 20}"),
            "\xe9",
        ]
        for cookie in cookies:
            expected = result_of(theirs, cookie, max_age)
            assert result_of(ours, cookie, max_age) == expected

    @pytest.mark.parametrize(
        "digest_method", [hashlib.sha256, "sha512", sha1_module, hashlib.md5, None]
    )
    @pytest.mark.parametrize("key_derivation", ["hmac", "none"])
    @pytest.mark.parametrize("key", ["k", "k" * 64, "k" * 200])
    def test_other_digests(
        self, app: Flask, key: str, key_derivation: str, digest_method: Any
    ) -> None:
        interface = SecureCookieSessionInterface()
        interface.key_derivation = key_derivation
        interface.digest_method = digest_method
        app.secret_key = key
        ours = interface.get_signing_serializer(app)
        theirs = URLSafeTimedSerializer(
            key,
            salt=interface.salt,
            serializer=interface.serializer,
            signer_kwargs={"key_derivation": key_derivation, "digest_method": digest_method},
        )
        assert ours is not None
        assert theirs.loads(ours.dumps({"a": 1})) == {"a": 1}
        assert ours.loads(theirs.dumps({"a": 1}), max_age=10) == {"a": 1}

    def test_serializer_of_bytes(self, app: Flask) -> None:
        interface = SecureCookieSessionInterface()
        interface.serializer = pickle  # type: ignore[assignment]
        ours = interface.get_signing_serializer(app)
        assert ours is not None
        signed: Any = ours.dumps({"a": (1,)})
        assert isinstance(signed, bytes)
        assert ours.loads(signed, max_age=10) == ours.loads(signed) == {"a": (1,)}

    def test_derives_each_key_once(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        derived = []
        derive_key = Signer.derive_key

        def noting(signer: Signer, secret_key: str | bytes | None = None) -> bytes:
            derived.append(signer.secret_keys)
            return derive_key(signer, secret_key)

        monkeypatch.setattr(Signer, "derive_key", noting)
        app.secret_key = "derived once"
        client = app.test_client()
        client.get("/set")
        assert [client.get("/get").text for _ in range(3)] == ["1"] * 3
        assert derived == [[b"derived once"]]

    def test_follows_every_change(self, app: Flask) -> None:
        interface = SecureCookieSessionInterface()
        cookies = set()

        def sign() -> None:
            signing_serializer = interface.get_signing_serializer(app)
            assert signing_serializer is not None
            cookies.add(signing_serializer.dumps({}).rpartition(".")[2])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TimestampSigner, "get_timestamp", lambda self: SIGNED_AT)
            sign()
            app.secret_key = "another"
            sign()
            interface.salt = "pepper"
            sign()
            interface.key_derivation = "concat"
            sign()
            interface.digest_method = hashlib.sha256
            sign()
        assert len(cookies) == 5

    def test_without_sha1(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        """A FIPS build of Python refuses SHA-1 when it is called."""

        def refuse(*args: object, **kwargs: object) -> None:
            raise ValueError("disabled for FIPS")

        monkeypatch.setattr(hashlib, "sha1", refuse)
        monkeypatch.setattr(SecureCookieSessionInterface, "digest_method", hashlib.sha256)
        client = app.test_client()
        client.get("/set")
        assert client.get("/get").text == "1"

    def test_none_without_secret_key(self) -> None:
        assert SecureCookieSessionInterface().get_signing_serializer(Flask("keyless")) is None

    def test_can_be_overridden(self, app: Flask) -> None:
        class Keyless(SecureCookieSessionInterface):
            def get_signing_serializer(self, app: Flask) -> None:
                return None

        app.session_interface = Keyless()

        with app.test_request_context():
            assert app.session_interface.is_null_session(session)


class TestSetCookie:
    async def test_of_a_session_that_only_json_reads(self, app: Flask) -> None:
        # After the view, when the response has no object yet.
        class Counted:
            def __html__(self) -> str:
                session["visits"] = session.get("visits", 0) + 1
                return str(session["visits"])

        async def visits() -> dict[str, Any]:
            return {"visits": Counted()}

        app.add_url_rule("/visits", "visits", visits)
        first = await exchange(app, http_scope("/visits"))
        cookie = dict(first.headers)["set-cookie"].partition(";")[0]
        second = await exchange(app, http_scope("/visits", headers=[("cookie", cookie)]))
        bodies = [stdlib_json.loads(peer.body) for peer in (first, second)]
        assert bodies == [{"visits": "1"}, {"visits": "2"}]

    def test_warns_of_one_that_is_too_large(self, app: Flask) -> None:
        app.add_url_rule("/large", "large", lambda: session.update(a=os.urandom(4000)) or "")

        with pytest.warns(UserWarning, match="cookie is too large"):
            assert "Set-Cookie" in app.test_client().get("/large").headers

    def test_by_the_method_of_another_class(self, app: Flask) -> None:
        class Partitioned(Response):
            def set_cookie(self, *args: Any, **kwargs: Any) -> None:
                super().set_cookie(*args, **{**kwargs, "partitioned": True})

        app.response_class = Partitioned
        assert "Partitioned" in app.test_client().get("/set").headers["Set-Cookie"]

    def test_value_of_another_serializer_is_quoted(self, app: Flask) -> None:
        class Spaced:
            def dumps(self, obj: Any) -> str:
                return "a b"

            def loads(self, text: str, max_age: int) -> dict[str, Any]:
                return {"read": text}

        class Interface(SecureCookieSessionInterface):
            def get_signing_serializer(self, app: Flask) -> Any:
                return Spaced()

        app.session_interface = Interface()
        client = app.test_client()
        assert client.get("/set").headers["Set-Cookie"].startswith('session="a b";')

        with client:
            client.get("/untouched")
            assert session == {"read": "a b"}

    def test_line_feed_in_the_config(self, app: Flask) -> None:
        app.testing = False
        app.config["SESSION_COOKIE_NAME"] = "a\nb"
        assert [app.test_client().get("/set").status_code for _ in range(2)] == [500, 500]

    @pytest.mark.parametrize("samesite", ["Loose", "strict", "LAX", "none", ""])
    def test_same_site(self, app: Flask, samesite: str) -> None:
        app.testing = False
        app.config["SESSION_COOKIE_SAMESITE"] = samesite
        response = app.test_client().get("/set")

        try:
            expected = dump_cookie("session", samesite=samesite)
        except ValueError:
            assert response.status_code == 500
        else:
            assert response.headers["Set-Cookie"].endswith(expected.partition("; ")[2])


METHODS: list[tuple[str, Any, str]] = [
    ("name", "sid", "sid="),
    ("domain", "example.org", "; Domain=example.org"),
    ("path", "/there", "; Path=/there"),
    ("secure", True, "; Secure"),
    ("samesite", "Strict", "; SameSite=Strict"),
    ("partitioned", True, "; Partitioned"),
]


class TestReplacedMethods:
    """Whoever replaces a method is asked, however he does it."""

    @pytest.mark.parametrize(("name", "value", "part"), METHODS)
    @pytest.mark.parametrize("where", ["subclass", "class", "base", "object"])
    def test_is_asked(
        self,
        app: Flask,
        name: str,
        value: object,
        part: str,
        where: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        client = app.test_client()
        assert part not in client.get("/set").headers["Set-Cookie"]
        interface: Any = SecureCookieSessionInterface()
        method = f"get_cookie_{name}"

        if where == "subclass":
            subclass = type("Interface", (SecureCookieSessionInterface,), {})
            setattr(subclass, method, lambda self, app: value)
            interface = subclass()
        elif where == "class":
            monkeypatch.setattr(SecureCookieSessionInterface, method, lambda self, app: value)
        elif where == "base":
            monkeypatch.setattr(SessionInterface, method, lambda self, app: value)
        else:
            setattr(interface, method, lambda app: value)

        app.session_interface = interface
        assert part in client.get("/set").headers["Set-Cookie"]

    def test_http_only(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(SessionInterface, "get_cookie_httponly", lambda self, app: False)
        assert "HttpOnly" not in app.test_client().get("/set").headers["Set-Cookie"]

    def test_when_it_is_set_and_until_when(self, app: Flask) -> None:
        class Interface(SecureCookieSessionInterface):
            def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
                return "user" in session

            def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime:
                return datetime(2030, 1, 1, tzinfo=UTC)

        app.session_interface = Interface()
        client = app.test_client()
        assert "Set-Cookie" not in client.get("/get").headers
        assert "; Expires=Tue, 01 Jan 2030" in client.get("/set").headers["Set-Cookie"]
        assert "Set-Cookie" in client.get("/get").headers


def test_cookies_of_another_request_class(app: Flask) -> None:
    class Elsewhere(Request):
        @property
        def cookies(self) -> dict[str, str]:  # type: ignore[override]
            return {"session": SMALL_COOKIE}

    app.request_class = Elsewhere
    assert app.test_client().get("/get").text == "1"
    requests = [Elsewhere({}), werkzeug.Request({"HTTP_COOKIE": f"session={SMALL_COOKIE}"})]
    for request in requests:
        assert SecureCookieSessionInterface().open_session(app, request) == SMALL  # type: ignore[arg-type]


BY_FLASK = """
import json, sys
from flask import Flask, session
cookies = json.load(sys.stdin)
app = Flask("by_flask")
app.secret_key = "test key"
app.config["SECRET_KEY_FALLBACKS"] = ["old key"]
read = []
for cookie in cookies:
    with app.test_request_context(headers={"Cookie": f"session={cookie}"}):
        read.append(app.session_interface.serializer.dumps(dict(session)))
written = []
for text in read:
    serializer = app.session_interface.get_signing_serializer(app)
    with app.app_context():
        written.append(serializer.dumps(app.session_interface.serializer.loads(text)))
json.dump([read, written], sys.stdout)
"""


def test_flask_reads_and_writes_the_same(app: Flask) -> None:
    if importlib.util.find_spec("flask") is None:
        pytest.skip("Flask is not installed")
    interface = SecureCookieSessionInterface()
    values = [SMALL, LARGE, *SIZES]
    with app.app_context():
        app.config["SECRET_KEY_FALLBACKS"] = ["old key"]
        signing_serializer = interface.get_signing_serializer(app)
        assert signing_serializer is not None
        cookies = [signing_serializer.dumps(value) for value in values]
        texts = [interface.serializer.dumps(value) for value in values]
    command = [sys.executable, "-c", BY_FLASK]
    done = subprocess.run(
        command, input=stdlib_json.dumps(cookies), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    read, written = stdlib_json.loads(done.stdout)
    assert read == texts
    assert [contents(app, cookie) for cookie in written] == values


@pytest.mark.parametrize(
    ("cookie", "renews"),
    [
        (None, False),
        ("", False),
        ("x.y.z", False),
        ("é", False),
        (SMALL_COOKIE, False),
        (LARGE_COOKIE, True),  # compressed
        (f"{base64_encode(b'{_permanent').decode()}.y.z", True),
        (f"!{base64_encode(b'{_permanent').decode()}\n.y.z", True),
    ],
)
def test_may_renew(app: Flask, cookie: str | None, renews: bool) -> None:
    request = app.request_class({})
    request.cookies = ImmutableMultiDict({} if cookie is None else {"session": cookie})
    interface = SecureCookieSessionInterface()
    assert may_renew(interface, app, request) is renews
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False
    assert may_renew(interface, app, request) is False


class MemorySession(dict[str, Any], SessionMixin):
    pass


class MemoryInterface(SessionInterface):
    """Keeps one session, by whatever colour of methods the subclasses have."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.calls: list[str] = []

    def opened(self) -> MemorySession:
        self.calls.append("open")
        return MemorySession(self.kept)

    def saved(self, session: SessionMixin, response: Response) -> None:
        self.calls.append("save")
        self.kept = dict(session)
        response.headers["X-Saved"] = "yes"


class SyncInterface(MemoryInterface):
    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return self.opened()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        self.saved(session, response)


class AsyncInterface(MemoryInterface):
    async def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return self.opened()

    async def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        self.saved(session, response)


@pytest.mark.parametrize("interface_class", [SyncInterface, AsyncInterface])
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_other_interface(interface_class: type[MemoryInterface], colour: str) -> None:
    app = Flask("interface_test")
    interface = app.session_interface = interface_class()

    def view() -> str:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    async def async_view() -> str:
        return view()

    app.add_url_rule("/", "index", view if colour == "def" else async_view)
    client = app.test_client()
    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]
    assert client.get("/").headers["X-Saved"] == "yes"
    assert interface.calls == ["open", "save"] * 4


def test_interface_without_session() -> None:
    class Nothing(SessionInterface):
        def open_session(self, app: Flask, request: Request) -> None:
            return None

    app = Flask("interface_test")
    app.session_interface = Nothing()
    app.add_url_rule("/", "index", lambda: str(dict(session)))
    assert app.test_client().get("/").text == "{}"


def test_base_interface_keeps_nothing(app: Flask) -> None:
    interface = SessionInterface()

    with pytest.raises(NotImplementedError):
        interface.open_session(app, app.request_class({}))

    with pytest.raises(NotImplementedError):
        interface.save_session(app, NullSession(), Response())


def test_other_salt_of_the_serializer(app: Flask) -> None:
    signing = SecureCookieSessionInterface().get_signing_serializer(app)
    assert signing is not None
    token = signing.dumps({"user": 1}, salt="other")
    assert signing.loads(token, salt="other") == {"user": 1}
    with pytest.raises(BadSignature):
        signing.loads(token)
    with pytest.raises(BadSignature):
        signing.loads(signing.dumps({"user": 1}), salt="other")
