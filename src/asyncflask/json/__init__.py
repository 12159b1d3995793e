"""JSON functions that use the provider of the current app, if there is one.

How a value becomes JSON is decided in :mod:`.provider`; sessions write by :mod:`.tag`.
"""

from __future__ import annotations

import json as _json
from typing import IO, TYPE_CHECKING, Any, AnyStr

from ..ctx import _cv_app, current_app_ctx
from .provider import _default

if TYPE_CHECKING:  # requests read their body by this module, so it is below `wrappers`
    from ..wrappers import Response


def dumps(obj: object, **kwargs: Any) -> str:
    """JSON text, by ``app.json.dumps`` or, without an app context, by :func:`json.dumps`.

    :param kwargs: passed on.
    :raises TypeError: a value has no JSON form.
    """
    if (ctx := _cv_app.get(None)) is not None:
        text: str = ctx.app.json.dumps(obj, **kwargs)
        return text

    kwargs.setdefault("default", _default)
    return _json.dumps(obj, **kwargs)


def dump(obj: object, fp: IO[str], **kwargs: Any) -> None:
    """Like :func:`dumps`, written to a text file; UTF-8 makes it valid JSON."""
    if (ctx := _cv_app.get(None)) is not None:
        ctx.app.json.dump(obj, fp, **kwargs)
        return

    kwargs.setdefault("default", _default)
    _json.dump(obj, fp, **kwargs)


def loads(s: str | bytes, **kwargs: Any) -> Any:
    """The value of JSON text, by ``app.json.loads`` or, without an app context, by
    :func:`json.loads`.

    :param s: text, or bytes in UTF-8.
    :param kwargs: passed on.
    :raises ValueError: the text is not JSON.
    """
    if (ctx := _cv_app.get(None)) is not None:
        return ctx.app.json.loads(s, **kwargs)

    return _json.loads(s, **kwargs)


def load(fp: IO[AnyStr], **kwargs: Any) -> Any:
    """Like :func:`loads`, read from a file of text or of UTF-8 bytes."""
    if (ctx := _cv_app.get(None)) is not None:
        return ctx.app.json.load(fp, **kwargs)

    return _json.load(fp, **kwargs)


def jsonify(*args: object, **kwargs: object) -> Response:
    """A response with the arguments as JSON, by ``app.json.response``.

    One argument is the value itself, several are a list, keywords are a dict, none is
    ``null``. A dict or list that a view returns becomes such a response by itself.

    :raises TypeError: both positional and keyword arguments.
    :raises RuntimeError: no app context.
    """
    response: Any = current_app_ctx().app.json.response(*args, **kwargs)
    return response  # type: ignore[no-any-return]
