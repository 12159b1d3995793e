"""Configuration: a dict that can be loaded from files, objects and the environment. The keys
and their defaults are in `settings.py`."""

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
    """A descriptor that makes a config key available as an attribute of the app.

    :param name: the key.
    :param get_converter: a function to convert the value each time it is read.
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
    """A dict of settings that can be loaded from files, objects and environment variables.

    Only upper-case names are loaded, so a config file can use lower-case names for temporary
    values. ::

        app.config.from_object("shop.default_settings")
        app.config.from_prefixed_env()

    :param root_path: the directory for relative file names; an app passes its own root path.
    :param defaults: the initial settings. Default: none.
    """

    def __init__(
        self, root_path: str | os.PathLike[str], defaults: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(defaults or {})
        self.root_path = root_path

    def from_envvar(self, variable_name: str, silent: bool = False) -> bool:
        """Load the Python file whose path is in an environment variable.

        :param variable_name: the name of the environment variable.
        :param silent: ``True`` to return ``False`` if the variable or the file is missing, instead
            of raising.
        :return: ``True`` if the file was loaded.
        :raises RuntimeError: if the variable is unset or empty.
        :raises OSError: if the file cannot be read.
        """
        filename = os.environ.get(variable_name)

        if filename:
            return self.from_pyfile(filename, silent=silent)

        if silent:
            return False

        raise RuntimeError(
            f"The environment variable {variable_name!r} is not set, so there is no"
            " configuration file to load. Set it to the path of one, or pass silent=True"
            " to continue without it."
        )

    def from_prefixed_env(
        self, prefix: str = "FLASK", *, loads: Callable[[str], object] = json.loads
    ) -> bool:
        """Load the environment variables whose names start with ``prefix`` and an underscore.

        The rest of the name is the key. A double underscore sets a key of a nested dict, which is
        created if necessary: ``FLASK_MAIL__PORT=25`` sets ``config["MAIL"]["PORT"]``. Variables
        are loaded in sorted order.

        :param prefix: default: ``"FLASK"``.
        :param loads: a function to parse the values. If it raises, the value is kept as a string.
            Default: :func:`json.loads`.
        :return: ``True``.
        """
        prefix = f"{prefix}_"

        for variable in sorted(os.environ):
            if not variable.startswith(prefix):
                continue

            value: Any = os.environ[variable]

            with suppress(Exception):  # `loads` cannot parse it: a string
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
        """Run a Python file and load its upper-case names. Only load files you trust.

        :param filename: absolute, or relative to ``root_path``.
        :param silent: ``True`` to return ``False`` if the file is missing, instead of raising.
        :return: ``True`` if the file was loaded.
        :raises OSError: if the file cannot be read.
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
        """Load the upper-case attributes of a module, a class or an instance. ::

            app.config.from_object("shop.settings.Production")

        A class is not instantiated, so its properties are loaded unevaluated: pass an instance if
        it has any. For a dict, use :meth:`from_mapping`.

        :param obj: the object, or the dotted name to import it by.
        :raises ImportError: if the name cannot be imported.
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
        """Load the upper-case keys of a file in a format of your choice. ::

            app.config.from_file("config.toml", load=tomllib.load, text=False)

        :param filename: absolute, or relative to ``root_path``.
        :param load: a function that takes the open file and returns a mapping, such as
            ``json.load``.
        :param silent: ``True`` to return ``False`` if the file is missing, instead of raising.
        :param text: ``False`` to open the file in binary mode. Default: ``True``.
        :return: ``True`` if the file was loaded.
        :raises OSError: if the file cannot be read.
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
        """Load the upper-case keys of a mapping and of the keyword arguments, like
        :meth:`dict.update`; other keys are ignored.

        :return: ``True``.
        """
        # Through a dict, which also accepts pairs, as `update` does.
        for key, value in {**dict(mapping or {}), **kwargs}.items():
            if key.isupper():
                self[key] = value

        return True

    def get_namespace(
        self, namespace: str, lowercase: bool = True, trim_namespace: bool = True
    ) -> dict[str, Any]:
        """Return the settings whose keys start with ``namespace``, as a new dict.

        With ``MAIL_HOST`` set, ``get_namespace("MAIL_")`` returns ``{"host": ...}``, which you can
        pass to a function as keyword arguments.

        :param namespace: the prefix of the keys.
        :param lowercase: convert keys to lower case. Default: ``True``.
        :param trim_namespace: remove the prefix from the keys. Default: ``True``.
        """
        settings = {}

        for key, value in self.items():
            if key.startswith(namespace):
                key = key.removeprefix(namespace) if trim_namespace else key
                settings[key.lower() if lowercase else key] = value

        return settings

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict.__repr__(self)}>"
