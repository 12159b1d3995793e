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
from .clients import Fixtures
from .flask import Extensions, Patches, is_flasks
from .imports import Imports
from .quart import Quart
from .quart_tests import QuartTests
from .rewriter import Rewriter

_WEBSOCKETS: Final = re.compile(r"\.(websocket|add_websocket)\(")

_WORDS: Final = ("eventlet", "flask", "gevent", "quart")


class Project:
    """What the files of a project contain, taken together."""

    def __init__(self, packages: Collection[str], files: Iterable[tuple[Path, str]]) -> None:
        self.packages = packages
        self.local: set[str] = set()
        """The names of its top-level modules, as far as folders tell."""
        self.fixtures = Fixtures()
        self.has_websockets = False
        self.extensions: set[str] = set()
        """The extensions it uses that import `flask`."""
        self.imported: set[str] = set()
        """The packages that it imports."""
        self.has_app = False
        """`True` if a file that was migrated creates an app, or installs asyncflask as Flask."""
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
            self.fixtures.read(path, tree)
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
        self.extensions |= {
            extension
            for extension in map(extension_of, modules)
            if extension is not None and is_flasks(extension, self.packages)
        }
        self.imported |= {module.partition(".")[0] for module in modules}

    def migrate(self, path: Path, text: str) -> str:
        """Return the source *text*, rewritten for asyncflask."""
        if "quart" not in self.packages and not any(word in text for word in _WORDS):
            return text  # irrelevant files take as long to parse as others
        module = cst.parse_module(text)
        for rewriter in self._passes(path):
            module = rewriter.run(module)
            if isinstance(rewriter, Extensions):
                self.has_app = self.has_app or rewriter.makes_app or rewriter.installs
        module = Imports(self.packages, module).run(module)
        return module.code

    def notes(self) -> Iterable[str]:
        """Yield notes about the project as a whole, after its files are migrated."""
        if not self.imported & {*self.packages, "asyncflask"}:
            names = " or ".join(map(repr, sorted(self.packages)))
            yield f"No file imports {names}: are these the right files, and the right '--from'?"
        elif self.extensions and not self.has_app:
            names = ", ".join(sorted(self.extensions))
            yield (
                f"No file creates an app, but the project uses extensions of Flask ({names})."
                " Where the app is created, call asyncflask.install_as_flask() above their"
                " imports."
            )

    def _passes(self, path: Path) -> Iterable[Rewriter]:
        if self.extensions:
            yield Extensions(self.packages, self.local)
        if "flask_socketio" in self.packages:
            yield Patches()
        if "quart" in self.packages:
            yield Quart(has_websockets=self.has_websockets)
            fixtures = self.fixtures
            yield QuartTests(fixtures.names, fixtures.sync(path), fixtures.mixed(path))
