"""Finding where a package is imported from and where it is installed."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import sys


def _find_package_path(import_name: str) -> str:
    """Return the folder from which *import_name*'s root package or module is imported."""
    root_name = import_name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(root_name)
    except (ImportError, ValueError):  # ValueError: __main__, or not a module name at all.
        spec = None

    if spec is None:
        return os.getcwd()
    if not spec.submodule_search_locations:  # a module
        return os.path.dirname(spec.origin) if spec.origin else os.getcwd()
    if spec.origin is not None and spec.origin != "namespace":  # a package's __init__.py
        return os.path.dirname(os.path.dirname(spec.origin))

    # A namespace package has several folders: take the one that holds the subpackage.
    locations = list(spec.submodule_search_locations)
    package = importlib.util.find_spec(import_name)
    if package is not None and package.submodule_search_locations:
        path = pathlib.Path(os.path.commonpath(package.submodule_search_locations))
        locations = [place for place in locations if path.is_relative_to(place)]
    return os.path.dirname(locations[0])


def find_package(import_name: str) -> tuple[str | None, str]:
    """Find out where *import_name* is installed. Returns the prefix, or `None` if it is imported
    from a project folder instead, and the folder on `sys.path` that contains it."""
    package_path = _find_package_path(import_name)
    prefix = os.path.abspath(sys.prefix)

    if pathlib.PurePath(package_path).is_relative_to(prefix):
        return prefix, package_path

    above, folder = os.path.split(package_path)
    if folder.lower() != "site-packages":
        return None, package_path

    # Another environment: lib/site-packages on Windows, otherwise lib/pythonX.Y/site-packages.
    outer, inner = os.path.split(above)
    if inner.lower() == "lib":
        return outer, package_path
    if os.path.basename(outer).lower() == "lib":
        return os.path.dirname(outer), package_path
    return above, package_path
