"""JSON functions that use the current app's provider, if there is an app. Providers are in
:mod:`.provider`; :mod:`.tag` has the format of sessions.
"""

from __future__ import annotations

import json as _json
from typing import IO, TYPE_CHECKING, Any, AnyStr

from ..ctx import _cv_app, current_app_ctx
from .provider import _default

if TYPE_CHECKING:  # requests use this module, so it is below `wrappers`
    from ..wrappers import Response


def dumps(obj: object, **kwargs: Any) -> str:
    """Serialize a value as JSON text, with ``app.json`` or, without an app context,
    :func:`json.dumps`.

    :param obj: the value.
    :param kwargs: passed to the provider's ``dumps``.
    :raises TypeError: if a value cannot be serialized.
    """
    if (ctx := _cv_app.get(None)) is not None:
        text: str = ctx.app.json.dumps(obj, **kwargs)
        return text

    kwargs.setdefault("default", _default)
    return _json.dumps(obj, **kwargs)


def dump(obj: object, fp: IO[str], **kwargs: Any) -> None:
    """Serialize a value like :func:`dumps` and write it to a text file, which should be UTF-8."""
    if (ctx := _cv_app.get(None)) is not None:
        ctx.app.json.dump(obj, fp, **kwargs)
        return

    kwargs.setdefault("default", _default)
    _json.dump(obj, fp, **kwargs)


def loads(s: str | bytes, **kwargs: Any) -> Any:
    """Parse JSON, with ``app.json`` or, without an app context, :func:`json.loads`.

    :param s: text, or bytes in UTF-8.
    :param kwargs: passed to the provider's ``loads``.
    :raises ValueError: if the text is not valid JSON.
    """
    if (ctx := _cv_app.get(None)) is not None:
        return ctx.app.json.loads(s, **kwargs)

    return _json.loads(s, **kwargs)


def load(fp: IO[AnyStr], **kwargs: Any) -> Any:
    """Parse JSON like :func:`loads`, from a file opened in text or binary mode."""
    if (ctx := _cv_app.get(None)) is not None:
        return ctx.app.json.load(fp, **kwargs)

    return _json.load(fp, **kwargs)


def jsonify(*args: object, **kwargs: object) -> Response:
    """Create a response with the arguments as JSON, with ``app.json.response``. ::

        return jsonify(name="Ada", roles=["admin"])

    One argument is the value itself, several become a list, keyword arguments a dict, and none
    ``null``. You need it only for values other than a dict or list, which a view can return
    directly, or to set headers on the response.

    :raises TypeError: if you pass both positional and keyword arguments.
    :raises RuntimeError: if there is no app context.
    """
    response: Any = current_app_ctx().app.json.response(*args, **kwargs)
    return response  # type: ignore[no-any-return]
