"""`install_as_flask`, in separate processes, since it changes what `import` returns."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from asyncflask.alias import install_as_flask_if_asked

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
        names = [each.name for each in importlib.metadata.distributions()]
        assert "Flask" in names and "asyncflask" in names
        """,
        tmp_path,
    )


def test_files_and_requirements_of_an_installed_flask(tmp_path: Path) -> None:
    info = tmp_path / "flask-9.9.dist-info"
    info.mkdir()
    (tmp_path / "flask.txt").write_text("content")
    (info / "RECORD").write_text("flask.txt,,\nflask-9.9.dist-info/METADATA,,\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nflask = flask.cli:main\n")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Flask\nVersion: 9.9\nRequires-Dist: click>=8\n"
        "\nVersion: text"
    )
    check(
        """
        import importlib.metadata
        flask = importlib.metadata.distribution("flask")
        assert flask.version == "3.1.3"
        assert flask.requires == ["click>=8"]
        assert [str(file) for file in flask.files] == ["flask.txt", "flask-9.9.dist-info/METADATA"]
        assert flask.files[0].read_text() == "content"
        assert flask.metadata.get_payload() == "Version: text"
        assert [each.name for each in flask.entry_points] == ["flask"]
        """,
        tmp_path,
    )


def test_no_installed_flask() -> None:
    check(
        """
        import importlib.metadata, sys
        sys.path[:] = [entry for entry in sys.path if not entry.endswith("site-packages")]
        flask = importlib.metadata.distribution("flask")
        assert (flask.version, flask.requires, flask.files) == ("3.1.3", None, None)
        try:
            flask.locate_file("flask")
        except FileNotFoundError as error:
            assert "asyncflask takes its place" in str(error)
        else:
            raise AssertionError
        """
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


HOOKS = """
    import importlib.util, sys

    class Loader:  # as those of wrapt, Datadog and New Relic
        def __init__(self, loader):
            self.loader = loader
        def create_module(self, spec):
            return self.loader.create_module(spec)
        def exec_module(self, module):
            module.__loader__ = self.loader
            self.loader.exec_module(module)
            ran(module)

    class Finder:
        finding = None
        def find_spec(self, name, path, target=None):
            if name != self.finding and name.partition(".")[0] == "flask":
                self.finding = name
                spec = importlib.util.find_spec(name)
                self.finding = None
                spec.loader = Loader(spec.loader)
                return spec

    modules = {}
    def ran(module):
        modules[module.__name__] = module
        if module.__name__ == "flask.views":
            module.View = "patched"
            del module.MethodView
            module.added = "added"
"""
"""Import hooks for `flask`, which go by the name of the module that was loaded."""


@pytest.mark.parametrize(
    "order",
    [
        f"sys.meta_path.insert(0, Finder())\n{INSTALL}",
        f"import asyncflask\nsys.meta_path.insert(0, Finder())\n{INSTALL}",
        # Where it looks at nothing that is imported already, which is for the hook to do.
        f"{INSTALL}for name in list(sys.modules):\n"
        "    if name.partition('.')[0] == 'flask':\n        del sys.modules[name]\n"
        "sys.meta_path.insert(0, Finder())\nimport flask",
    ],
)
def test_import_hooks(order: str) -> None:
    done = run(
        textwrap.dedent(HOOKS)
        + order
        + textwrap.dedent(
            """
            import asyncflask.views, flask.views, flask
            assert {"flask", "flask.app", "flask.templating", "flask.views"} <= set(modules)
            given = modules["flask"]
            assert given.Flask is asyncflask.Flask is flask.Flask
            assert vars(given) is vars(asyncflask) and dir(given) == dir(asyncflask)
            assert given.__name__ == given.__spec__.name == "flask"
            assert flask is asyncflask and sys.modules["flask"] is asyncflask
            assert flask.__name__ == flask.__spec__.name == "asyncflask"
            assert type(flask.__loader__) is type(flask.app.__loader__) is not Loader
            assert flask.views is sys.modules["flask.views"] is asyncflask.views
            assert asyncflask.views.View == "patched" and asyncflask.views.added == "added"
            assert not hasattr(asyncflask.views, "MethodView")
            """
        )
    )
    assert done.returncode == 0, done.stderr


def test_finder_of_the_real_flask_that_comes_first(tmp_path: Path) -> None:
    """As that of a program which was made into one file."""
    (tmp_path / "flask.py").write_text("name = 'real'")
    done = run(
        f"""
        import sys
        from importlib.machinery import PathFinder
        class Finder(PathFinder):
            pass
        sys.meta_path.insert(0, Finder)
        {INSTALL}
        import flask
        assert flask is asyncflask
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_hooks_that_are_registered_later_find_what_is_imported() -> None:
    check(
        """
        import sys
        names = {"flask", "flask.app", "flask.blueprints", "flask.templating", "flask.views"}
        assert names <= sys.modules.keys()
        """
    )


def test_as_a_program(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INSTALL)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--version"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "asyncflask" in done.stdout.lower(), done.stderr


class TestAsked:
    """By the environment, for what has no first line of a program."""

    @pytest.mark.parametrize(("value", "name"), [("1", "asyncflask"), ("0", "real"), ("", "real")])
    def test_if_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, name: str
    ) -> None:
        (tmp_path / "flask.py").write_text("__name__ = 'real'")
        monkeypatch.setenv("FLASK_AS_FLASK", value)
        done = run(
            f"""
            from asyncflask.alias import install_as_flask_if_asked
            install_as_flask_if_asked()
            import flask
            assert flask.__name__ == {name!r}
            """,
            tmp_path,
        )
        assert done.returncode == 0, done.stderr

    def test_entry_point(self) -> None:
        """`opentelemetry-instrument` calls it before it imports what it instruments."""
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
        points = project["project"]["entry-points"]["opentelemetry_pre_instrument"]
        assert [pkgutil.resolve_name(point) for point in points.values()] == [
            install_as_flask_if_asked
        ]

    def test_error_of_one_that_was_started_without(self, tmp_path: Path) -> None:
        package = tmp_path / "opentelemetry" / "instrumentation"
        (package / "auto_instrumentation").mkdir(parents=True)
        (package / "auto_instrumentation" / "__init__.py").write_text("")
        (package / "flask.py").write_text("import flask")
        (tmp_path / "flask.py").write_text("")
        done = run(
            "import opentelemetry.instrumentation.auto_instrumentation\n"
            f"import opentelemetry.instrumentation.flask\n{INSTALL}",
            tmp_path,
        )
        assert done.stderr.splitlines()[-1] == (
            "RuntimeError: The real Flask was imported earlier, by"
            " 'opentelemetry.instrumentation.flask', before the program's first line. Set"
            " FLASK_AS_FLASK=1 in the environment of 'opentelemetry-instrument': then it"
            " instruments asyncflask."
        )


REAL = {
    "flask/__init__.py": "from .globals import current_app as current_app\nclass Flask: pass\n",
    "flask/globals.py": "from werkzeug.local import LocalProxy\n"
    "from contextvars import ContextVar\ncurrent_app = LocalProxy(ContextVar('app'),"
    " unbound_message='Working outside of application context.')\n",
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
        f"RuntimeError: The real Flask was imported earlier, by {by}. Write 'import"
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


NOTE = (
    "'extension' uses the real Flask, which does not know this app and its requests. Write"
    " 'import asyncflask; asyncflask.install_as_flask()' in the program's first lines."
)


class TestAdvice:
    """For an app where only the import of `Flask` was changed, and its extension's was not."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        source = "from flask import current_app\ndef name(): return current_app.name\n"
        for name, text in {**REAL, "extension/inner.py": source}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)

    def notes(self, folder: Path, code: str) -> str:
        done = run(
            textwrap.dedent(
                """
                import asyncflask, extension
                from asyncflask import Flask, current_app
                app = Flask(__name__)
                app.testing = True
                name = extension.inner.name
                def get():
                    try:
                        app.test_client().get("/")
                    except Exception as error:
                        print(getattr(error, "__notes__", []))
                """
            )
            + textwrap.dedent(code),
            folder,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @pytest.mark.parametrize(
        "code",
        [
            "app.get('/')(name)",
            "async def index():\n    return name()\napp.get('/')(index)",
            "app.teardown_request(lambda error: name())",
            "app.teardown_appcontext(lambda error: name())",
        ],
    )
    def test_request(self, tmp_path: Path, code: str) -> None:
        assert self.notes(tmp_path, f"{code}\nget()") == str([NOTE])

    def test_context(self, tmp_path: Path) -> None:
        code = """
        try:
            with app.app_context(), app.test_request_context():
                name()
        except RuntimeError as error:
            print(error.__notes__)
        """
        assert self.notes(tmp_path, code) == str([NOTE])

    def test_none_for_want_of_a_request(self, tmp_path: Path) -> None:
        """As `current_user` of Flask-Login is."""
        notes = self.notes(tmp_path, "app.get('/')(lambda: None.is_authenticated)\nget()")
        assert notes == str([f"If this is None because there is no request: {NOTE}"])

    @pytest.mark.parametrize(
        "code",
        [
            "app.get('/')(lambda: [].missing)",
            "app.get('/')(lambda: 1 / 0)",
            "def index(): raise AttributeError('own')\napp.get('/')(index)",
            # A thread of the user's has no context, whichever Flask it asks.
            "from concurrent.futures import ThreadPoolExecutor\n"
            "app.get('/')(lambda: ThreadPoolExecutor().submit(lambda: current_app.name).result())",
        ],
    )
    def test_other_errors(self, tmp_path: Path, code: str) -> None:
        assert self.notes(tmp_path, f"{code}\nget()") == "[]"
