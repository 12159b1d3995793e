"""`install_as_flask`, in processes of their own: it changes what `import` gives."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

INSTALL = "import asyncflask; asyncflask.install_as_flask()\n"


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    lines = "".join(f"import sys; sys.path.insert(0, {str(entry)!r})\n" for entry in path)
    command = [sys.executable, "-c", lines + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def check(code: str, *path: Path) -> None:
    done = run(INSTALL + textwrap.dedent(code), *path)
    assert done.returncode == 0, done.stderr


def test_modules_are_the_same_ones() -> None:
    check(
        """
        import importlib, sys
        import flask, flask.globals, flask.json.provider
        from flask.sansio import scaffold
        from flask import Flask, json
        assert flask is asyncflask
        assert flask.globals is asyncflask.globals
        assert flask.globals._cv_app is asyncflask.ctx._cv_app
        assert flask.json.provider is sys.modules["asyncflask.json.provider"]
        assert scaffold is sys.modules["asyncflask.sansio.scaffold"]
        views = importlib.import_module("flask.views")
        assert views is importlib.import_module("asyncflask.views")
        assert sys.modules["flask"].__spec__.name == "asyncflask"
        assert flask.views.__spec__.name == "asyncflask.views"
        assert flask.views.__name__ == "asyncflask.views"
        """
    )


def test_context_is_one() -> None:
    check(
        """
        import flask
        app = asyncflask.Flask(__name__)
        with app.test_request_context("/a"):
            assert flask.request.path == "/a"
            assert flask.current_app._get_current_object() is app
        """
    )


def test_version() -> None:
    check(
        """
        import importlib.metadata, flask
        assert flask.__version__ == "3.1.3"
        assert importlib.metadata.version("flask") == "3.1.3"
        """
    )


def test_version_beside_an_installed_flask(tmp_path: Path) -> None:
    info = tmp_path / "flask-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Flask\nVersion: 9.9\n")
    check(
        """
        import importlib.metadata, flask
        assert flask.__version__ == importlib.metadata.version("Flask") == "3.1.3"
        assert importlib.metadata.metadata("flask")["Name"] == "Flask"
        assert importlib.metadata.requires("flask") is None
        assert importlib.metadata.files("flask") is None
        importlib.metadata.packages_distributions()
        """,
        tmp_path,
    )


def test_extension(tmp_path: Path) -> None:
    (tmp_path / "flask_extension.py").write_text(
        "from flask import Blueprint, current_app\nfrom flask.signals import Namespace\n"
        "bp = Blueprint('ext', __name__)\nbp.add_url_rule('/', 'i', lambda: current_app.name)\n"
    )
    check(
        """
        import flask_extension
        app = asyncflask.Flask("own")
        app.register_blueprint(flask_extension.bp)
        assert app.test_client().get("/").text == "own"
        """,
        tmp_path,
    )


def test_twice() -> None:
    check(
        """
        import sys
        before = list(sys.meta_path)
        asyncflask.install_as_flask()
        import flask
        asyncflask.install_as_flask()
        assert sys.meta_path == before
        """
    )


@pytest.mark.parametrize("name", ["flask.nothing", "flask.json.nothing", "flask.ext"])
def test_module_that_is_not_there(name: str) -> None:
    done = run(f"{INSTALL}import {name}")
    assert "ModuleNotFoundError" in done.stderr
    assert name in done.stderr


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flaskr.py").write_text("name = 'own'")
    check("import flaskr; assert flaskr.name == 'own'", tmp_path)


REAL = {
    "flask/__init__.py": "from .globals import current_app as current_app\nclass Flask: pass\n",
    "flask/globals.py": "from werkzeug.local import LocalProxy\n"
    "from contextvars import ContextVar\ncurrent_app = LocalProxy(ContextVar('app'))\n",
    "extension/__init__.py": "from . import inner\n",
}
"""What there is of the real Flask, for these tests, and an extension."""


@pytest.mark.parametrize(
    ("importing", "by", "above"),
    [
        ("import flask", "'__main__'", "the import of 'flask'"),
        ("from flask import Flask", "'__main__'", "the import of 'flask'"),
        ("from flask import current_app", "'__main__'", "the import of 'flask'"),
        ("import extension", "'extension.inner'", "what imports 'extension'"),
    ],
)
@pytest.mark.parametrize("source", ["import flask", "from flask import current_app"])
def test_real_flask_was_first(
    tmp_path: Path, importing: str, by: str, above: str, source: str
) -> None:
    for name, text in {**REAL, "extension/inner.py": source}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = run(f"{importing}\nimport asyncflask\nasyncflask.install_as_flask()", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"RuntimeError: The real Flask has been imported already, by {by}. Write 'import"
        f" asyncflask; asyncflask.install_as_flask()' above {above}."
    )


def test_real_flask_was_first_and_nobody_has_it(tmp_path: Path) -> None:
    (tmp_path / "flask.py").write_text("")
    done = run("import flask, asyncflask\ndel flask\nasyncflask.install_as_flask()", tmp_path)
    assert "by a module that has been unloaded. Write" in done.stderr


def test_not_without_being_asked(tmp_path: Path) -> None:
    (tmp_path / "flask.py").write_text("name = 'real'")
    done = run("import asyncflask, flask\nassert flask.name == 'real'", tmp_path)
    assert done.returncode == 0, done.stderr
