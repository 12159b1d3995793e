"""The passes that `migrate` makes over a file, and what they need to know about the project."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import libcst as cst

from ..check import extension_of
from .flask import Extensions, Patches, is_flasks
from .imports import Imports
from .quart import Quart
from .quart_tests import QuartTests, client_fixtures
from .rewriter import Rewriter

_WEBSOCKETS: Final = re.compile(r"\.(websocket|add_websocket)\(")

_WORDS: Final = ("eventlet", "flask", "gevent", "quart")


class Project:
    """What the files of a project contain, taken together."""

    def __init__(self, packages: Collection[str], files: Iterable[tuple[Path, str]]) -> None:
        self.packages = packages
        self.local: set[str] = set()
        """The names of its top-level modules, as far as folders tell."""
        self.fixtures: set[str] = set()
        self.has_websockets = False
        self.has_extensions = False
        for path, text in files:
            self._read(path, text)

    def _read(self, path: Path, text: str) -> None:
        package = path.absolute().parent
        name = package.name if path.name == "__init__.py" else path.stem
        while (package.parent / "__init__.py").exists() and package.parent != package:
            package = package.parent
        self.local.add(package.name if (package / "__init__.py").exists() else name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        if "quart" in self.packages:
            self.fixtures |= client_fixtures(tree)
            self.has_websockets = self.has_websockets or bool(_WEBSOCKETS.search(text))
        modules = {
            module
            for node in ast.walk(tree)
            for module in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom) and node.module and not node.level
                else []
            )
        }
        if any(is_flasks(extension_of(module), self.packages) for module in modules):
            self.has_extensions = True

    def migrate(self, path: Path, text: str) -> str:
        """Return the source *text*, rewritten for asyncflask."""
        if "quart" not in self.packages and not any(word in text for word in _WORDS):
            return text  # irrelevant files take as long to parse as others
        module = cst.parse_module(text)
        for rewriter in self._passes():
            module = rewriter.run(module)
        module = Imports(self.packages, module).run(module)
        return module.code

    def _passes(self) -> Iterable[Rewriter]:
        if self.has_extensions:
            yield Extensions(self.packages, self.local)
        if "flask_socketio" in self.packages:
            yield Patches()
        if "quart" in self.packages:
            yield Quart(has_websockets=self.has_websockets)
            yield QuartTests(self.fixtures)
