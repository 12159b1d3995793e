"""The documentation is true: its Python runs, its pages build.

The Python blocks of a page run in order, in one namespace. Options of a block:

- ``:class: fresh``: start a new namespace.
- ``:class: norun``: do not run it; a comment ``.. norun: reason`` directly above says why.
- ``:caption: name``: also (for other languages: only) write it to a file with this name. A
  captioned ``test_*.py`` is run by pytest, together with the files above it, instead of here.

Functions named ``test_*`` that a block defines are called after it, coroutine functions on a
loop. A comment ``.. check:`` contains Python that runs like a block but is not shown.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.rst", *sorted(DOCS.glob("*.rst")), *sorted(DOCS.glob("howto/*.rst"))]
"""Without the tutorial, whose chapters build on each other: see `examples/test_tutorial.py`."""
LANGUAGES = {
    *("python", "console", "css", "docker", "html+jinja", "ini", "javascript", "nginx"),
    *("text", "yaml"),
}
BUILD_SECONDS = 300
PYTEST_SECONDS = 240

_BEGIN = re.compile(r"( *)\.\. (?:code-block:: *(\S+)|(check):)$")
_OPTION = re.compile(r" +:(\w+): *(.*)$")


@dataclass
class Block:
    line: int
    """Of its first line of code, counted from 0."""
    language: str
    code: str
    options: dict[str, str] = field(default_factory=dict)
    is_check: bool = False
    above: str = ""
    """The line above it that is not empty."""

    @property
    def classes(self) -> list[str]:
        return self.options.get("class", "").split()

    @property
    def caption(self) -> str:
        return self.options.get("caption", "")


def blocks_of(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if (begin := _BEGIN.match(line)) is None:
            continue
        indent, language = len(begin[1]), begin[2] or "python"
        first = number + 1
        options = {}
        while first < len(lines) and (option := _OPTION.match(lines[first])) is not None:
            options[option[1]] = option[2]
            first += 1
        end = first
        while end < len(lines) and (not lines[end] or _indent(lines[end]) > indent):
            end += 1
        code = dedent("\n".join(lines[first:end])).rstrip() + "\n"
        above = next((above for above in reversed(lines[:number]) if above.strip()), "")
        yield Block(first, language, code, options, begin[3] is not None, above.strip())


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def new_module(name: str, folder: Path) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = str(folder / "app.py")
    return module


def run(block: Block, module: ModuleType, page: Path) -> None:
    # Empty lines in front: errors are reported with the line of the page.
    code = compile("\n" * block.line + block.code, page, "exec")
    before = dict(vars(module))
    exec(code, vars(module))
    for name, value in list(vars(module).items()):
        if not (name.startswith("test_") and inspect.isfunction(value)):
            continue
        if value is before.get(name):
            continue
        if inspect.iscoroutinefunction(value):
            asyncio.run(value())
        else:
            value()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A page may configure logging, which is global."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers.copy()
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"docs_{page.stem.lower()}"
    module = new_module(name, tmp_path)
    monkeypatch.setitem(sys.modules, name, module)
    tests = []
    for block in blocks_of(page.read_text("utf-8")):
        if block.caption:
            file = tmp_path / block.caption
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code, "utf-8")
            if file.match("test_*.py"):
                tests.append(file)
                continue
        if block.language != "python" or "norun" in block.classes:
            continue
        if "fresh" in block.classes:
            module = new_module(name, tmp_path)
            monkeypatch.setitem(sys.modules, name, module)
        run(block, module, page)
    if tests:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, tests)]
        subprocess.run(command, check=True, cwd=tmp_path, timeout=PYTEST_SECONDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_does_not_run_has_a_reason(page: Path) -> None:
    for block in blocks_of(page.read_text("utf-8")):
        assert block.language in LANGUAGES, f"line {block.line}: {block.language!r}"
        assert "norun" not in block.classes or block.above.startswith(".. norun: "), (
            f"line {block.line}: say why above it, in a comment '.. norun: reason'"
        )


def test_links_of_the_readme_lead_somewhere() -> None:
    readme = PAGES[0].read_text("utf-8")
    targets = re.findall(r"<((?:docs|examples|tests|LICENSE|CHANGELOG)[^>]*)>", readme)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.slow
def test_pages_build_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_SECONDS, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
