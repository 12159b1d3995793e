"""Sessions: the dict-like objects, and interfaces that keep them between requests.

The default keeps them in a signed cookie, byte for byte Flask's: itsdangerous signs it,
Werkzeug writes the header. The pipeline decides when to open and save a session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, cast

from itsdangerous import (
    BadData,
    BadSignature,
    TimestampSigner,
    URLSafeTimedSerializer,
    base64_decode,
    want_bytes,
)
from werkzeug.datastructures import CallbackDict

from .json.tag import TaggedJSONSerializer
from .wrappers import Request, Response

if TYPE_CHECKING:
    from .app import Flask


class SessionMixin(MutableMapping[str, Any]):
    """The attributes that a session has in addition to a dict's methods."""

    @property
    def permanent(self) -> bool:
        """`True` if the session lasts for `PERMANENT_SESSION_LIFETIME` instead of until the
        browser is closed. Stored as the key ``_permanent``."""
        value: bool = self.get("_permanent", False)
        return value

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self["_permanent"] = bool(value)

    #: ``True`` if the session began with this request, for sessions that can tell.
    new = False

    #: ``True`` if the session must be saved. Sessions that cannot detect changes leave it
    #: ``True``.
    modified = True

    #: ``True`` if the request accessed the session, so that the response depends on the cookie.
    #: Set by the request context.
    accessed = False


def _set_modified(session: SessionMixin) -> None:
    session.modified = True


class SecureCookieSession(CallbackDict[str, Any], SessionMixin):
    """A session stored in a signed cookie.

    :param initial: the initial contents; they do not count as a change.
    """

    #: Set by each change of the session itself. A change inside a value, such as
    #: ``session["cart"].append(1)``, is not detected: set ``session.modified = True`` after it.
    modified = False

    def __init__(self, initial: Mapping[str, Any] | None = None) -> None:
        super().__init__(initial, _set_modified)


class NullSession(SecureCookieSession):
    """Used if no session is available, for example without a secret key: reading finds nothing,
    and writing raises `RuntimeError`."""

    def _fail(self, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError(
            "The session is unavailable because the app has no secret key to sign it with."
            " Set app.secret_key to a value that is random and secret, such as"
            " the result of secrets.token_hex()."
        )

    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = _fail
    __ior__ = _fail
    del _fail


class SessionInterface:
    """Opens and saves sessions. Subclass it to store sessions somewhere else: implement
    :meth:`open_session` and :meth:`save_session`, which may be ``def`` or ``async def``::

        class RedisSessionInterface(SessionInterface):
            async def open_session(self, app, request):
                return RedisSession(await redis.hgetall(request.cookies.get("sid", "")))

            async def save_session(self, app, session, response):
                await redis.hset(session.sid, mapping=session)

        app.session_interface = RedisSessionInterface()

    One instance serves concurrent requests, so keep no request's data on it.
    """

    #: The class that :meth:`make_null_session` creates and :meth:`is_null_session` checks for.
    null_session_class = NullSession

    #: Whether sessions are pickled, for extensions that check it.
    pickle_based = False

    def make_null_session(self, app: Flask) -> NullSession:
        """Create the session to use if :meth:`open_session` returns ``None``."""
        return self.null_session_class()

    def is_null_session(self, obj: object) -> bool:
        """Return ``True`` if ``obj`` is a null session. Null sessions are not saved."""
        return isinstance(obj, self.null_session_class)

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name of the session cookie: ``SESSION_COOKIE_NAME``."""
        name: str = app.config["SESSION_COOKIE_NAME"]
        return name

    def get_cookie_domain(self, app: Flask) -> str | None:
        """Return the cookie's ``Domain``: ``SESSION_COOKIE_DOMAIN``. ``None`` limits the cookie to
        this host, without its subdomains (RFC 6265 section 5.3)."""
        domain: str | None = app.config["SESSION_COOKIE_DOMAIN"]
        return domain

    def get_cookie_path(self, app: Flask) -> str:
        """Return the cookie's ``Path``: ``SESSION_COOKIE_PATH``, or ``APPLICATION_ROOT`` if that
        is unset."""
        path: str = app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"]
        return path

    def get_cookie_httponly(self, app: Flask) -> bool:
        """Return ``True`` to hide the cookie from JavaScript: ``SESSION_COOKIE_HTTPONLY``."""
        httponly: bool = app.config["SESSION_COOKIE_HTTPONLY"]
        return httponly

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return ``True`` to send the cookie over HTTPS only: ``SESSION_COOKIE_SECURE``."""
        secure: bool = app.config["SESSION_COOKIE_SECURE"]
        return secure

    def get_cookie_samesite(self, app: Flask) -> str | None:
        """Return the cookie's ``SameSite``: ``SESSION_COOKIE_SAMESITE``, which is ``"Strict"``,
        ``"Lax"``, ``"None"`` or ``None`` for no such attribute."""
        samesite: str | None = app.config["SESSION_COOKIE_SAMESITE"]
        return samesite

    def get_cookie_partitioned(self, app: Flask) -> bool:
        """Return ``True`` to partition the cookie by top-level site:
        ``SESSION_COOKIE_PARTITIONED``."""
        partitioned: bool = app.config["SESSION_COOKIE_PARTITIONED"]
        return partitioned

    def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime | None:
        """Return the time when the cookie expires: ``PERMANENT_SESSION_LIFETIME`` from now for a
        permanent session, otherwise ``None``, when the browser is closed."""
        if not session.permanent:
            return None

        expires: datetime = datetime.now(UTC) + app.permanent_session_lifetime
        return expires

    def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
        """Return ``True`` if the response must set the cookie: if the session was modified, or if
        it is permanent and ``SESSION_REFRESH_EACH_REQUEST`` is on."""
        refresh: bool = app.config["SESSION_REFRESH_EACH_REQUEST"]
        return session.modified or (session.permanent and refresh)

    def open_session(
        self, app: Flask, request: Request
    ) -> SessionMixin | Awaitable[SessionMixin | None] | None:
        """Return the session for a request. May be ``async def`` in a subclass.

        :return: a dict-like object with :class:`SessionMixin`, or ``None`` if no session is
            available; the null session is used then.
        """
        raise NotImplementedError

    def save_session(
        self, app: Flask, session: SessionMixin, response: Response
    ) -> Awaitable[None] | None:
        """Save the session and set its cookie on the response. Called after all ``after_request``
        functions, but not for a null session. May be ``async def`` in a subclass."""
        raise NotImplementedError


session_json_serializer = TaggedJSONSerializer()


def _lazy_sha1(string: bytes = b"") -> Any:
    # Looked up on call: a FIPS build of Python may lack SHA-1, and then importing this module
    # must still work for apps with another digest.
    return hashlib.sha1(string)


class _Signer(TimestampSigner):
    """Caches the derived keys. itsdangerous derives one per signature, which takes longer than
    signing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._derived: dict[bytes, bytes] = {}

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        key = self.secret_key if secret_key is None else want_bytes(secret_key)
        if key not in self._derived:
            self._derived[key] = super().derive_key(key)
        return self._derived[key]


class _SigningSerializer(URLSafeTimedSerializer):
    """Keeps its signer, and so the derived keys."""

    _kept: Any = None

    def make_signer(self, salt: str | bytes | None = None) -> Any:
        if salt is not None and want_bytes(salt) != self.salt:
            return super().make_signer(salt)
        if self._kept is None:
            self._kept = super().make_signer(self.salt)
        return self._kept


@lru_cache(maxsize=16)
def _signing_serializer(
    keys: tuple[str | bytes, ...],
    salt: str | bytes,
    serializer: Any,
    key_derivation: str,
    digest_method: Any,
) -> URLSafeTimedSerializer:
    if digest_method is _lazy_sha1:  # `hmac` cannot pass that one to OpenSSL
        digest_method = hashlib.sha1
    return _SigningSerializer(
        cast("list[bytes]", [*keys]),
        salt=salt,
        serializer=serializer,
        signer=_Signer,
        signer_kwargs={"key_derivation": key_derivation, "digest_method": digest_method},
    )


class SecureCookieSessionInterface(SessionInterface):
    """The default: sessions in a cookie that is signed, but not encrypted. Clients can read its
    contents and cannot change them."""

    #: The salt that separates session cookies from other signatures with the same key.
    salt = "cookie-session"

    #: The digest for the signature.
    digest_method = staticmethod(_lazy_sha1)

    #: How itsdangerous derives the signing key from the secret key.
    key_derivation = "hmac"

    #: The serializer for the contents, with ``dumps`` and ``loads``.
    serializer = session_json_serializer

    session_class = SecureCookieSession

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Return the serializer that signs with ``app.secret_key`` and also accepts signatures
        made with ``SECRET_KEY_FALLBACKS``, or ``None`` without a secret key."""
        secret_key = app.secret_key

        if not secret_key:
            return None

        fallbacks = app.config["SECRET_KEY_FALLBACKS"] or ()
        keys = (*fallbacks, secret_key)  # itsdangerous signs with the last
        return _signing_serializer(
            keys, self.salt, self.serializer, self.key_derivation, self.digest_method
        )

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session from the cookie, or an empty one if the cookie is missing, expired or
        has a bad signature. ``None`` without a secret key."""
        signing_serializer = self.get_signing_serializer(app)

        if signing_serializer is None:
            return None

        value = request.cookies.get(self.get_cookie_name(app))

        if not value:
            return self.session_class()

        max_age = int(app.permanent_session_lifetime.total_seconds())

        try:
            return self.session_class(signing_serializer.loads(value, max_age=max_age))
        except BadSignature:
            return self.session_class()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie if :meth:`should_set_cookie` says so, delete it if the session was
        emptied, and add ``Vary: Cookie`` if the session was accessed."""
        # RFC 9110 section 12.5.5: the response depends on what was accessed.
        if session.accessed:
            _vary_by_cookie(response)

        if not session and not session.modified:
            return

        name = self.get_cookie_name(app)
        attributes: dict[str, Any] = {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
            "partitioned": self.get_cookie_partitioned(app),
        }

        if not session:
            response.delete_cookie(name, **attributes)
        elif self.should_set_cookie(app, session):
            signing_serializer = self.get_signing_serializer(app)
            assert signing_serializer is not None, "a session was opened, so there is a secret key"
            value: Any = signing_serializer.dumps(dict(session))
            expires = self.get_expiration_time(app, session)
            response.set_cookie(name, value, expires=expires, **attributes)
        else:
            return

        if not session.accessed:  # otherwise done above
            _vary_by_cookie(response)


def _vary_by_cookie(response: Response) -> None:
    # Reading `response.vary` parses it, so read it only if there is something to parse.
    if response.headers.getlist("Vary"):
        response.vary.add("Cookie")
    else:
        response.headers.add("Vary", "Cookie")


def may_renew(interface: SecureCookieSessionInterface, app: Flask, request: Request) -> bool:
    """True if a session that the request did not access may still need to be saved: the lifetime
    of a permanent session restarts with each request.

    Only decodes the cookie, which takes a tenth of the time that verifying it takes;
    :meth:`SecureCookieSessionInterface.open_session` does that. True if it cannot tell.
    """
    value = request.cookies.get(interface.get_cookie_name(app))

    if not value or not app.config["SESSION_REFRESH_EACH_REQUEST"]:
        return False

    if (
        type(interface.serializer) is not TaggedJSONSerializer
        or interface.session_class is not SecureCookieSession
        or value.startswith(".")  # compressed: do not unpack it unverified
    ):
        return True

    try:
        return b"_permanent" in base64_decode(value.partition(".")[0])
    except BadData:
        return False  # not one of our cookies
