"""Configuration: a dict that can be filled from files, objects and the environment.

Which keys there are, and their defaults, is the app's business.
"""

from __future__ import annotations

import errno
import json
import os
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any, Generic, Protocol, Self, TypeVar, overload

from werkzeug.utils import import_string

T = TypeVar("T")


class _HasConfig(Protocol):
    @property
    def config(self) -> Config: ...


class ConfigAttribute(Generic[T]):
    """An attribute of the app that reads and writes one key of ``app.config``.

    :param name: the key.
    :param get_converter: applied to the value on each read.
    """

    def __init__(self, name: str, get_converter: Callable[[Any], T] | None = None) -> None:
        self.__name__ = name
        self.get_converter = get_converter

    @overload
    def __get__(self, obj: None, owner: type[object]) -> Self: ...

    @overload
    def __get__(self, obj: _HasConfig, owner: type[object] | None = None) -> T: ...

    def __get__(self, obj: _HasConfig | None, owner: type[object] | None = None) -> T | Self:
        if obj is None:
            return self

        value: T = obj.config[self.__name__]
        return value if self.get_converter is None else self.get_converter(value)

    def __set__(self, obj: _HasConfig, value: object) -> None:
        obj.config[self.__name__] = value


class Config(dict[str, Any]):
    """A dict of settings, with ways to fill it (Flask: Configuration Handling).

    Files, objects and mappings contribute their upper-case names only, so that other names
    can be used for work in between. ::

        app.config.from_object("shop.default_settings")
        app.config.from_prefixed_env()

    :param root_path: relative file names start here; an app gives its own root path.
    :param defaults: the first contents. Default: empty.
    """

    def __init__(
        self, root_path: str | os.PathLike[str], defaults: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(defaults or {})
        self.root_path = root_path

    def from_envvar(self, variable_name: str, silent: bool = False) -> bool:
        """Load the Python file that an environment variable names.

        :param silent: ``True``: a missing variable or file is ``False``, not an error.
        :return: whether a file was loaded.
        :raises RuntimeError: the variable is unset or empty.
        :raises OSError: the file cannot be read.
        """
        filename = os.environ.get(variable_name)

        if filename:
            return self.from_pyfile(filename, silent=silent)

        if silent:
            return False

        raise RuntimeError(
            f"The environment variable {variable_name!r} is not set, so there is no"
            " configuration file to load. Set it to the path of one, or pass silent=True"
            " to go on without."
        )

    def from_prefixed_env(
        self, prefix: str = "FLASK", *, loads: Callable[[str], object] = json.loads
    ) -> bool:
        """Take every environment variable that begins with ``prefix`` and an underscore.

        The rest of its name is the key; a double underscore in it steps into a nested dict,
        which is created if missing: ``FLASK_MAIL__PORT=25``. Names are taken in sorted
        order.

        :param prefix: default ``"FLASK"``.
        :param loads: makes a value of the text; where it raises, the text is the value.
            Default: JSON.
        :return: ``True``.
        """
        prefix = f"{prefix}_"

        for variable in sorted(os.environ):
            if not variable.startswith(prefix):
                continue

            value: Any = os.environ[variable]

            with suppress(Exception):  # not in the notation of `loads`: a string
                value = loads(value)

            *parents, key = variable.removeprefix(prefix).split("__")
            target: dict[str, Any] = self

            for parent in parents:
                if parent not in target:
                    target[parent] = {}

                target = target[parent]

            target[key] = value

        return True

    def from_pyfile(self, filename: str | os.PathLike[str], silent: bool = False) -> bool:
        """Run a Python file and take its upper-case names.

        :param filename: absolute, or relative to ``root_path``.
        :param silent: ``True``: a missing file is ``False``, not an error.
        :return: whether the file was loaded.
        :raises OSError: the file cannot be read.
        """
        filename = os.path.join(self.root_path, filename)
        module = types.ModuleType("config")
        module.__file__ = filename

        try:
            # Bytes, so that compile() honours the file's coding comment (PEP 263).
            with open(filename, "rb") as file:
                exec(compile(file.read(), filename, "exec"), module.__dict__)
        except OSError as e:
            if silent and e.errno in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR):
                return False

            e.strerror = f"Unable to load configuration file ({e.strerror})"
            raise

        self.from_object(module)
        return True

    def from_object(self, obj: object | str) -> None:
        """Take the upper-case attributes of a module, a class or an instance.

        Properties count on an instance only. A dict has no attributes to take:
        see :meth:`from_mapping`.

        :param obj: the object, or the name to import it by.
        :raises ImportError: there is nothing of that name.
        """
        if isinstance(obj, str):
            obj = import_string(obj)

        for key in dir(obj):
            if key.isupper():
                self[key] = getattr(obj, key)

    def from_file(
        self,
        filename: str | os.PathLike[str],
        load: Callable[[IO[Any]], Mapping[str, object]],
        silent: bool = False,
        text: bool = True,
    ) -> bool:
        """Take the upper-case keys of a file in any format. ::

            app.config.from_file("config.toml", load=tomllib.load, text=False)

        :param filename: absolute, or relative to ``root_path``.
        :param load: given the open file, returns a mapping.
        :param silent: ``True``: a missing file is ``False``, not an error.
        :param text: ``False`` opens the file in binary mode.
        :return: whether the file was loaded.
        :raises OSError: the file cannot be read.
        """
        filename = os.path.join(self.root_path, filename)

        try:
            with open(filename, "r" if text else "rb") as file:
                mapping = load(file)
        except OSError as e:
            if silent and e.errno in (errno.ENOENT, errno.EISDIR):
                return False

            e.strerror = f"Unable to load configuration file ({e.strerror})"
            raise

        return self.from_mapping(mapping)

    def from_mapping(self, mapping: Mapping[str, object] | None = None, **kwargs: object) -> bool:
        """Like :meth:`dict.update`, but upper-case keys only.

        :return: ``True``.
        """
        # By way of a dict, so that pairs will do, as they do for `update`.
        for key, value in {**dict(mapping or {}), **kwargs}.items():
            if key.isupper():
                self[key] = value

        return True

    def get_namespace(
        self, namespace: str, lowercase: bool = True, trim_namespace: bool = True
    ) -> dict[str, Any]:
        """The settings whose keys begin with ``namespace``, as a new dict.

        With ``MAIL_HOST`` set, ``get_namespace("MAIL_")`` is ``{"host": ...}``.

        :param lowercase: keys in lower case. Default: ``True``.
        :param trim_namespace: keys without the namespace. Default: ``True``.
        """
        settings = {}

        for key, value in self.items():
            if key.startswith(namespace):
                key = key.removeprefix(namespace) if trim_namespace else key
                settings[key.lower() if lowercase else key] = value

        return settings

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict.__repr__(self)}>"
