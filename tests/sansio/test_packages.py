"""Where a package is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncflask.sansio.packages import find_package


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make a folder under `tmp_path`, importable from."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.mkdir(parents=True)
        monkeypatch.syspath_prepend(path)
        return path

    return make


def test_find_package_in_a_project(place: Callable[[str], Path]) -> None:
    project = place("project")
    (project / "single_module.py").touch()
    (project / "a_package").mkdir()
    (project / "a_package" / "__init__.py").touch()
    for name in ("single_module", "a_package", "a_package.inner"):
        assert find_package(name) == (None, str(project))


def test_find_package_in_a_namespace(place: Callable[[str], Path]) -> None:
    first, second = place("first"), place("second")
    for folder, package in ((first, "one"), (second, "two")):
        (folder / "spread" / package).mkdir(parents=True)
        (folder / "spread" / package / "__init__.py").touch()
    try:
        assert find_package("spread.one") == (None, str(first))
        assert find_package("spread.two") == (None, str(second))
    finally:
        sys.modules.pop("spread", None)


@pytest.mark.parametrize(
    ("folder", "prefix"),
    [
        ("env/lib/python3.11/site-packages", "env"),
        ("env/Lib/site-packages", "env"),
        ("env/odd/site-packages", "env/odd"),
    ],
)
def test_find_package_in_another_environment(
    place: Callable[[str], Path], tmp_path: Path, folder: str, prefix: str
) -> None:
    packages = place(folder)
    (packages / "installed_elsewhere.py").touch()
    assert find_package("installed_elsewhere") == (str(tmp_path / prefix), str(packages))


def test_find_package_in_this_environment(
    place: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = place("env/anywhere")
    (packages / "installed_here.py").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    assert find_package("installed_here") == (str(tmp_path / "env"), str(packages))


@pytest.mark.parametrize("name", ["no_such_module", "not a name", ""])
def test_find_package_of_nothing(name: str) -> None:
    assert find_package(name)[1] == os.getcwd()
