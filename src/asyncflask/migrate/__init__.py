"""The command ``asyncflask migrate``: rewrites the imports and `await`s of a project written
for Flask, Quart or Flask-SocketIO, and leaves notes where it cannot decide.

This module reads and writes files. The others rewrite sources with libcst, which is imported
when the command is called. Runs nothing of the project.
"""

from __future__ import annotations

import ast
import difflib
import io
import os
import re
import shutil
import sys
import tempfile
import tokenize
import warnings
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from ..check import sources

if TYPE_CHECKING:
    from .passes import Project

FROM: Final = {
    "flask": frozenset({"flask"}),
    "quart": frozenset({"quart"}),
    "flask-socketio": frozenset({"flask", "flask_socketio"}),
}
"""The packages whose imports are rewritten, by the value of ``--from``."""

_MARK: Final = "# asyncflask: "
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")
"""Lines as `patch` counts them: `str.splitlines` also splits at a form feed."""


class Source(NamedTuple):
    """A file of the project."""

    path: Path
    data: bytes
    encoding: str

    @property
    def text(self) -> str:
        return self.data.decode(self.encoding)

    def write(self, text: str) -> None:
        """Replace the file with *text*, atomically."""
        target = self.path.resolve()  # keeps a link a link
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with open(handle, "wb") as file:
                file.write(text.encode(self.encoding))
            shutil.copymode(target, name)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise


def read(path: Path) -> Source:
    """Read a Python file.

    :raises OSError: if it cannot be read.
    :raises SyntaxError: if it is not valid Python.
    """
    data = path.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse(data, path)
    return Source(path, data, encoding)


def notes_in(text: str) -> list[tuple[int, str]]:
    """Return the notes in a source, with their line numbers."""
    return [
        (number, line.strip().removeprefix(_MARK))
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip().startswith(_MARK)
    ]


def diff(source: Source, text: str) -> str:
    """Return the changes in a file in the format of ``diff -u``."""
    path = source.path.as_posix().lstrip("/")
    lines = difflib.unified_diff(
        _LINES.findall(source.text),
        _LINES.findall(text),
        f"a/{path}",
        f"b/{path}",
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in lines
    )


def _project() -> Callable[[Collection[str], Iterable[tuple[Path, str]]], Project]:
    try:
        from .passes import Project
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        raise click.ClickException(
            "'asyncflask migrate' needs libcst. Install it with: pip install 'asyncflask[migrate]'"
        ) from error
    return Project


@click.command("migrate", short_help="Rewrite a Flask, Quart or Flask-SocketIO project.")
@click.option(
    "--from",
    "origins",
    type=click.Choice(list(FROM)),
    multiple=True,
    required=True,
    help="The framework the project uses. Repeat it for several.",
)
@click.option("--diff", "mode", flag_value="diff", help="Print the changes as a diff.")
@click.option("--write", "mode", flag_value="write", help="Change the files.")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH...",
)
def migrate_command(origins: tuple[str, ...], mode: str | None, paths: tuple[Path, ...]) -> None:
    """Rewrite a project's imports and 'await's for asyncflask. Where you have to decide, a
    comment '# asyncflask: ...' in the source says what to do.

    With --diff nothing is written, and the command exits with 1 if there is something to
    change.
    """
    if mode is None:
        raise click.UsageError("Pass --diff to print the changes, or --write to make them.")
    make_project = _project()
    packages = frozenset().union(*(FROM[origin] for origin in origins))
    found, unreadable = _read_all(paths)
    project = make_project(packages, ((source.path, source.text) for source in found))
    changed = 0
    remarks: list[str] = []
    for source in found:
        try:
            text = project.migrate(source.path, source.text)
        except RecursionError:
            unreadable.append(f"{source.path}: skipped, because it is nested too deeply.")
            continue
        if text != source.text:
            changed += 1
            if mode == "diff":
                click.echo(diff(source, text), nl=False)
            else:
                try:
                    source.write(text)
                except OSError as error:
                    click.echo(f"{source.path}: cannot be written: {error}.", err=True)
                    sys.exit(1)
                click.echo(f"Changed {source.path}")
        remarks += [f"{source.path}:{line}: {note}" for line, note in notes_in(text)]
    remarks += project.notes()
    in_diff = mode == "diff"  # standard output is input for `patch` then
    for line in [*unreadable, *remarks]:
        click.echo(line, err=in_diff)
    would = "would change" if in_diff else "changed"
    click.echo(
        f"Read {len(found)} files: {changed} {would}, {len(remarks)} notes to follow up.",
        err=in_diff,
    )
    sys.exit(1 if (in_diff and changed) else 0)


def _read_all(paths: Iterable[Path]) -> tuple[list[Source], list[str]]:
    """Return the files of a project, and messages about those that cannot be read."""
    found: list[Source] = []
    unreadable: list[str] = []
    for path in dict.fromkeys(file for folder in paths for file in sources(folder)):
        try:
            found.append(read(path))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            unreadable.append(f"{path}: skipped, because it cannot be read: {error}.")
    return found, unreadable
