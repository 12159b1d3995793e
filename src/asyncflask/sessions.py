"""Sessions: the dict-like objects, and how they are kept between requests.

The default keeps them in a signed cookie, byte for byte Flask's. When a session is opened and
saved is the pipeline's business.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import attrgetter, itemgetter
from typing import Any, NoReturn

from itsdangerous import (
    BadData,
    BadSignature,
    HMACAlgorithm,
    Signer,
    TimestampSigner,
    URLSafeTimedSerializer,
    base64_decode,
    base64_encode,
    want_bytes,
)
from itsdangerous.encoding import int_to_bytes
from werkzeug.datastructures import CallbackDict, Headers
from werkzeug.http import dump_cookie
from werkzeug.sansio.http import parse_cookie
from werkzeug.wrappers import Response as BaseResponse

from .json.tag import TaggedJSONSerializer
from .wrappers import Request, Response


class SessionMixin(MutableMapping[str, Any]):
    """What a session is, beyond a dict."""

    @property
    def permanent(self) -> bool:
        """Whether the session outlives the browser's: the key ``_permanent``."""
        value: bool = self.get("_permanent", False)
        return value

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self["_permanent"] = bool(value)

    #: Whether the session began with this request, for those that can tell.
    new = False

    #: Whether there is something to save. Those that cannot tell say ``True``.
    modified = True

    #: Whether the request looked at the session, which makes its response depend on the
    #: cookie. The request context sets it.
    accessed = False


def _set_modified(session: SessionMixin) -> None:
    session.modified = True


class SecureCookieSession(CallbackDict[str, Any], SessionMixin):
    """A session that is kept in a signed cookie.

    :param initial: the first contents; they do not count as a change.
    """

    #: Set by each change of the session itself. A change inside a value, such as
    #: ``session["cart"].append(1)``, is not seen: write ``session.modified = True`` after it.
    modified = False

    on_update: Callable[[Any], None] | None

    def __init__(self, initial: Mapping[str, Any] | None = None) -> None:
        # As Werkzeug's initializer, and its method below, without a call for each class.
        dict.__init__(self, () if initial is None else initial)
        self.on_update = _set_modified

    def __setitem__(self, key: str, value: Any) -> None:
        dict.__setitem__(self, key, value)

        if self.on_update is not None:
            self.on_update(self)


class NullSession(SecureCookieSession):
    """Stands in where sessions cannot be had: empty to read, an error to write."""

    def _fail(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            "The session is unavailable because the app has no secret key to sign it with."
            " Set app.secret_key to a value that is random and secret, such as"
            " secrets.token_hex() gives."
        )

    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = _fail
    __ior__ = _fail
    del _fail


class SessionInterface:
    """Opens and saves sessions. A subclass gives at least :meth:`open_session` and
    :meth:`save_session`; both may be ``def`` or ``async def``::

        class RedisSessionInterface(SessionInterface):
            async def open_session(self, app, request):
                return RedisSession(await redis.hgetall(request.cookies.get("sid", "")))

            async def save_session(self, app, session, response):
                await redis.hset(session.sid, mapping=session)

        app.session_interface = RedisSessionInterface()

    One interface serves all requests at once, so it keeps nothing of any of them.
    """

    #: What :meth:`make_null_session` makes and :meth:`is_null_session` looks for.
    null_session_class = NullSession

    #: Whether sessions are pickled, for extensions that ask.
    pickle_based = False

    def make_null_session(self, app: Any) -> NullSession:
        """The session of a request for which :meth:`open_session` gave ``None``."""
        return self.null_session_class()

    def is_null_session(self, obj: object) -> bool:
        """Whether ``obj`` is of :attr:`null_session_class`; such are never saved."""
        return isinstance(obj, self.null_session_class)

    def get_cookie_name(self, app: Any) -> str:
        """``SESSION_COOKIE_NAME``."""
        name: str = app.config["SESSION_COOKIE_NAME"]
        return name

    def get_cookie_domain(self, app: Any) -> str | None:
        """``SESSION_COOKIE_DOMAIN``; ``None``: this host, without its subdomains
        (RFC 6265 section 5.3)."""
        domain: str | None = app.config["SESSION_COOKIE_DOMAIN"]
        return domain

    def get_cookie_path(self, app: Any) -> str:
        """``SESSION_COOKIE_PATH``, or else ``APPLICATION_ROOT``."""
        path: str = app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"]
        return path

    def get_cookie_httponly(self, app: Any) -> bool:
        """``SESSION_COOKIE_HTTPONLY``."""
        httponly: bool = app.config["SESSION_COOKIE_HTTPONLY"]
        return httponly

    def get_cookie_secure(self, app: Any) -> bool:
        """``SESSION_COOKIE_SECURE``."""
        secure: bool = app.config["SESSION_COOKIE_SECURE"]
        return secure

    def get_cookie_samesite(self, app: Any) -> str | None:
        """``SESSION_COOKIE_SAMESITE``: ``"Strict"``, ``"Lax"``, ``"None"`` or ``None``."""
        samesite: str | None = app.config["SESSION_COOKIE_SAMESITE"]
        return samesite

    def get_cookie_partitioned(self, app: Any) -> bool:
        """``SESSION_COOKIE_PARTITIONED``."""
        partitioned: bool = app.config["SESSION_COOKIE_PARTITIONED"]
        return partitioned

    def get_expiration_time(self, app: Any, session: SessionMixin) -> datetime | None:
        """When the cookie ends: for a permanent session in ``PERMANENT_SESSION_LIFETIME``
        from now, otherwise with the browser's session (``None``)."""
        if not session.permanent:
            return None

        expires: datetime = datetime.now(UTC) + app.permanent_session_lifetime
        return expires

    def should_set_cookie(self, app: Any, session: SessionMixin) -> bool:
        """Whether the response sets the cookie: the session was modified, or it is permanent
        and ``SESSION_REFRESH_EACH_REQUEST`` is set."""
        refresh: bool = app.config["SESSION_REFRESH_EACH_REQUEST"]
        return session.modified or (session.permanent and refresh)

    def open_session(
        self, app: Any, request: Request
    ) -> SessionMixin | Awaitable[SessionMixin | None] | None:
        """The session of a request. May be ``async def`` in a subclass.

        :return: a dict with :class:`SessionMixin`; ``None`` where there can be no session.
        """
        raise NotImplementedError

    def save_session(
        self, app: Any, session: SessionMixin, response: Response
    ) -> Awaitable[None] | None:
        """Save the session, and set the cookie on the response. May be ``async def`` in a
        subclass. Comes after all ``after_request`` functions, not for a null session."""
        raise NotImplementedError


session_json_serializer = TaggedJSONSerializer()


def _lazy_sha1(string: bytes = b"") -> Any:
    # Looked up when called: a FIPS build of Python may lack SHA-1, and then importing this
    # module must still work for those who choose another digest.
    return hashlib.sha1(string)


class _KeyedHMAC(HMACAlgorithm):
    """HMAC (RFC 2104) that works in its keys once, not for each signature."""

    def __init__(self, digest_method: Any, keys: list[bytes]) -> None:
        super().__init__(digest_method)
        self._keyed = {key: hmac.new(key, digestmod=self.digest_method) for key in keys}

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        mac = self._keyed[key].copy()
        mac.update(value)
        return mac.digest()


# As `itsdangerous.base64_encode` and `base64_decode` of bytes, which call the same by way of
# functions for text and for other alphabets.
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def _base64_encode(data: bytes) -> bytes:
    return b2a_base64(data, newline=False).translate(_TO_URL_SAFE).rstrip(b"=")


def _base64_decode(data: bytes) -> bytes:
    """Raises `binascii.Error`. What is missing of the padding is at most what is added."""
    return a2b_base64((data + b"==").translate(_FROM_URL_SAFE))


@lru_cache(maxsize=2)
def _stamp(timestamp: int) -> bytes:
    """What is between the contents and the signature. The same for a second."""
    return b".%b" % base64_encode(int_to_bytes(timestamp))


class _SigningSerializer(URLSafeTimedSerializer):
    """itsdangerous' serializer, which keeps its signer, and compresses with less effort.

    :param keys: derived already: the signer would do it for each signature.
    :param with_salt: makes the signer for another salt than *salt*.
    """

    def __init__(
        self,
        keys: list[bytes],
        salt: str,
        serializer: Any,
        digest_method: Any,
        with_salt: Callable[[str | bytes], Signer],
    ) -> None:
        algorithm = _KeyedHMAC(digest_method, keys)
        super().__init__(
            keys,
            salt=salt,
            serializer=serializer,
            signer_kwargs={
                "key_derivation": "none",
                "digest_method": digest_method,
                "algorithm": algorithm,
            },
        )
        self._signer = TimestampSigner(keys, salt=salt, **self.signer_kwargs)
        self._sign = partial(algorithm.get_signature, keys[-1])
        self._with_salt = with_salt

    def make_signer(self, salt: str | bytes | None = None) -> Signer:
        """The signer, made anew only for another salt."""
        if salt is None or want_bytes(salt) == self._signer.salt:
            return self._signer

        return self._with_salt(salt)

    def loads(  # type: ignore[override]  # as that of the base class
        self,
        s: str | bytes,
        max_age: int | None = None,
        return_timestamp: bool = False,
        salt: str | bytes | None = None,
    ) -> Any:
        """As in the base class. What is just as it would be signed with the latest key, and not
        too old, is read here. All else is for the base class to accept, or to say what is
        wrong."""
        if max_age is not None and salt is None and not return_timestamp:
            signed = s.encode() if isinstance(s, str) else s
            stamped, _, signature = signed.rpartition(b".")
            payload, dot, timestamp = stamped.rpartition(b".")

            if dot and hmac.compare_digest(self._signature(stamped), signature):
                try:
                    signed_at = int.from_bytes(_base64_decode(timestamp), "big")

                    if 0 <= self._signer.get_timestamp() - signed_at <= max_age:
                        if payload[:1] == b".":  # compressed
                            return self.load_payload(payload)

                        data: Any = _base64_decode(payload)
                        return self.serializer.loads(
                            data.decode() if self.is_text_serializer else data
                        )
                except Exception:  # raised again below, as it should be
                    pass

        return super().loads(s, max_age, return_timestamp, salt)

    def dumps(self, obj: Any, salt: str | bytes | None = None) -> Any:
        """As in the base class, byte for byte."""
        if salt is not None:
            return super().dumps(obj, salt)

        stamped = self.dump_payload(obj) + _stamp(self._signer.get_timestamp())
        signed = b"%b.%b" % (stamped, self._signature(stamped))
        return signed.decode() if self.is_text_serializer else signed

    def _signature(self, value: bytes) -> bytes:
        """What the signer's `get_signature` gives."""
        return _base64_encode(self._sign(value))

    def dump_payload(self, obj: Any) -> bytes:
        """As in the base class, byte for byte."""
        data: Any = self.serializer.dumps(obj)

        if isinstance(data, str):
            data = data.encode()

        if len(data) >= _COMPRESSED_FROM and len(compressed := _compress(data)) < len(data) - 1:
            return b"." + _base64_encode(compressed)

        return _base64_encode(data)


# What is shorter stays so: the frame of a zlib stream (RFC 1950) takes 6 bytes, and in deflate's
# own code (RFC 1951 section 3.2.6) the five characters of the smallest object take 8 bits each.
_COMPRESSED_FROM = 16

# More than a cookie holds. Up to here the memory that zlib needs is fitted to the data: its usual
# quarter of a megabyte takes longer to get than the data to compress.
_FITTED_UP_TO = 4096


def _compress(data: bytes) -> bytes:
    """What `zlib.compress` gives."""
    size = len(data)

    if size > _FITTED_UP_TO:
        return zlib.compress(data)

    # All of the data in reach of a match (zlib keeps 262 bytes of its window for itself), and
    # in one block.
    window_bits = max(9, (size + 262).bit_length())
    memory_level = max(1, (size + 1).bit_length() - 6)
    compressor = zlib.compressobj(wbits=window_bits, memLevel=memory_level)
    compressed = compressor.compress(data) + compressor.flush()
    # The first two bytes tell the size of the window: the usual one (RFC 1950 section 2.2).
    return b"\x78\x9c" + compressed[2:]


def _cookie(request: Request, name: str) -> str | None:
    """`request.cookies.get`, without a dict of all cookies that may be of no further use."""
    cookie: str | None

    if not getattr(request, "_reads_cookies", False) or "cookies" in request.__dict__:
        cookie = request.cookies.get(name)
        return cookie

    pairs: Any = list  # instead of a class of dict
    cookies: Any = parse_cookie(request._header(b"cookie"), pairs)

    for key, cookie in cookies:
        if key == name:
            return cookie

    return None


# The name of a cookie, and what else there is but its value and its end: by these names.
_Cookie = tuple[str, str | None, str | None, bool, bool, str | None, bool]
_ATTRIBUTES = ("domain", "path", "secure", "httponly", "samesite", "partitioned")


# Typed: ``Secure`` comes of `True`, ``Secure=1`` of 1.
@lru_cache(maxsize=8, typed=True)
def _around_value(
    expires: Any,
    name: str,
    domain: str | None,
    path: str | None,
    secure: bool,
    httponly: bool,
    samesite: str | None,
    partitioned: bool,
) -> tuple[str, str]:
    """What comes before and after the value in a ``Set-Cookie``: all of it from the config.
    Raises `ValueError` for what cannot be in a header."""
    cookie = dump_cookie(
        name,
        "_VALUE_",
        expires=expires,
        domain=domain,
        path=path,
        secure=secure,
        httponly=httponly,
        samesite=samesite,
        partitioned=partitioned,
        max_size=0,
    )
    Headers().add("Set-Cookie", cookie)
    before, _, after = cookie.partition("=_VALUE_")
    return f"{before}=", after


def _set_cookie(
    response: BaseResponse, cookie: _Cookie, value: str, expires: Any, quoted: bool
) -> None:
    """`response.set_cookie`. That method puts the attributes together anew for each value; not
    so if the value cannot need quotes.

    :param quoted: whether it may.
    """
    headers = response.headers

    if (
        not quoted
        and type(response).set_cookie is BaseResponse.set_cookie
        and type(headers) is Headers  # a view may have put a dict there
    ):
        if isinstance(expires, datetime):
            expires = expires.replace(microsecond=0)  # no part of an HTTP date

        before, after = _around_value(expires, *cookie)
        line = f"{before}{value}{after}"

        if len(line) <= response.max_cookie_size:
            headers._list.append(("Set-Cookie", line))  # `add` would check it once more
            return

    name, *attributes = cookie
    named: Any = dict(zip(_ATTRIBUTES, attributes, strict=True))
    response.set_cookie(name, value, expires=expires, **named)


def _vary_by_cookie(response: BaseResponse) -> None:
    """``response.vary.add("Cookie")``, without a set of one where there is no other."""
    headers = response.headers

    if type(headers) is Headers:
        for name, value in headers._list:
            if name.lower() == "vary":
                if value == "Cookie":
                    return

                break
        else:
            headers._list.append(("Vary", "Cookie"))
            return

    response.vary.add("Cookie")


# One for the key in use, one for a second app that shares the interface; old keys do not stay.
_SIGNING_SERIALIZERS_KEPT = 2


class SecureCookieSessionInterface(SessionInterface):
    """Keeps the session in a cookie that is signed, not encrypted (itsdangerous)."""

    #: Sets the signatures of session cookies apart from others made with the same key.
    salt = "cookie-session"

    #: The digest of the signature.
    digest_method = staticmethod(_lazy_sha1)

    #: How itsdangerous derives the signing key from the secret key.
    key_derivation = "hmac"

    #: What writes and reads the contents: ``dumps`` and ``loads``.
    serializer = session_json_serializer

    session_class = SecureCookieSession

    # Pairs of (what a serializer was made of, the serializer), latest first. Replaced as a
    # whole, so that threads need no lock.
    _signing_serializers: tuple[tuple[tuple[Any, ...], URLSafeTimedSerializer], ...] = ()

    def get_signing_serializer(self, app: Any) -> URLSafeTimedSerializer | None:
        """What signs with ``app.secret_key``, and also reads what was signed with one of
        ``SECRET_KEY_FALLBACKS``; ``None`` without a secret key."""
        secret_key = app.secret_key

        if not secret_key:
            return None

        fallbacks = app.config["SECRET_KEY_FALLBACKS"]
        made_of = (
            secret_key,
            tuple(fallbacks) if fallbacks else (),
            self.salt,
            self.serializer,
            self.key_derivation,
            self.digest_method,
        )

        for known, signing_serializer in self._signing_serializers:
            if known == made_of:
                return signing_serializer

        keys = (*made_of[1], secret_key)  # itsdangerous signs with the last
        signer = partial(
            TimestampSigner, key_derivation=self.key_derivation, digest_method=self.digest_method
        )
        # Derived here once: the signer would do it for each signature.
        derived = [signer(key, salt=self.salt).derive_key() for key in keys]
        signing_serializer = _SigningSerializer(
            derived,
            self.salt,
            self.serializer,
            self.digest_method,
            lambda salt: signer(list(keys), salt=salt),
        )
        kept = self._signing_serializers[: _SIGNING_SERIALIZERS_KEPT - 1]
        self._signing_serializers = ((made_of, signing_serializer), *kept)
        return signing_serializer

    def open_session(self, app: Any, request: Request) -> SecureCookieSession | None:
        """The session in the cookie; an empty one if there is none, or if its signature is
        wrong or too old; ``None`` without a secret key."""
        signing_serializer = self.get_signing_serializer(app)

        if signing_serializer is None:
            return None

        value = _cookie(request, self.get_cookie_name(app))

        if not value:
            return self.session_class()

        max_age = int(app.permanent_session_lifetime.total_seconds())

        try:
            return self.session_class(signing_serializer.loads(value, max_age=max_age))
        except BadSignature:
            return self.session_class()

    def _may_renew(self, app: Any, request: Request) -> bool:
        """Whether a session that the request did not touch may have to be saved for its lifetime:
        if it is permanent. By a look at what is in the cookie, whose signature is not verified
        for that; true if that cannot be seen."""
        if not app.config["SESSION_REFRESH_EACH_REQUEST"]:
            return False

        if (
            type(self.serializer) is not TaggedJSONSerializer
            or self.session_class is not SecureCookieSession
        ):
            return True

        payload, _, _ = (_cookie(request, self.get_cookie_name(app)) or "").partition(".")

        if not payload:  # compressed: not to be unpacked unverified
            return True

        try:
            return b"_permanent" in base64_decode(payload)
        except BadData:
            return False  # no cookie of ours

    def save_session(self, app: Any, session: SessionMixin, response: Response) -> None:
        """Set the cookie if :meth:`should_set_cookie`; delete it if the session was emptied;
        tell caches (``Vary``) if the session was so much as looked at."""
        # RFC 9110 section 12.5.5: the response depends on what was looked at.
        if varies := session.accessed:
            _vary_by_cookie(response)

        if not session and not session.modified:
            return

        cookie = self._cookie_to_set(app)

        if not session:
            name, *attributes = cookie
            named: Any = dict(zip(_ATTRIBUTES, attributes, strict=True))
            response.delete_cookie(name, **named)
        elif self.should_set_cookie(app, session):
            signing_serializer = self.get_signing_serializer(app)
            assert signing_serializer is not None, "a session was opened, so there is a secret key"
            value = signing_serializer.dumps(dict(session))
            expires = self.get_expiration_time(app, session)
            quoted = type(signing_serializer) is not _SigningSerializer
            _set_cookie(response, cookie, value, expires, quoted)
        else:
            return

        if not varies:
            _vary_by_cookie(response)

    def _cookie_to_set(self, app: Any) -> _Cookie:
        """What the ``get_cookie_`` methods say; they are only asked if one was replaced."""
        if _cookie_methods(type(self)) == _OWN_COOKIE_METHODS and _COOKIE_METHODS.isdisjoint(
            self.__dict__
        ):
            name, domain, path, root, secure, httponly, samesite, partitioned = _cookie_config(
                app.config
            )
            return name, domain, path or root, secure, httponly, samesite, partitioned

        return (
            self.get_cookie_name(app),
            self.get_cookie_domain(app),
            self.get_cookie_path(app),
            self.get_cookie_secure(app),
            self.get_cookie_httponly(app),
            self.get_cookie_samesite(app),
            self.get_cookie_partitioned(app),
        )


_COOKIE_METHODS = frozenset(f"get_cookie_{name}" for name in ("name", *_ATTRIBUTES))
_cookie_methods = attrgetter(*_COOKIE_METHODS)
_OWN_COOKIE_METHODS = _cookie_methods(SessionInterface)
_cookie_config = itemgetter(
    "SESSION_COOKIE_NAME",
    "SESSION_COOKIE_DOMAIN",
    "SESSION_COOKIE_PATH",
    "APPLICATION_ROOT",
    "SESSION_COOKIE_SECURE",
    "SESSION_COOKIE_HTTPONLY",
    "SESSION_COOKIE_SAMESITE",
    "SESSION_COOKIE_PARTITIONED",
)
