"""Errors and explanations of debug mode."""

from __future__ import annotations

import logging
from pathlib import Path

import jinja2
import pytest

from asyncflask import Blueprint, Flask, render_template, request
from asyncflask.debughelpers import DebugFilesKeyError, FormDataRoutingRedirect, _describe


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("debughelpers_test", root_path=str(tmp_path))
    app.config.update(TESTING=True, DEBUG=True)
    return app


class TestFiles:
    """A form without `enctype` sends the name of a file only."""

    @pytest.fixture(autouse=True)
    def upload(self, app: Flask) -> None:
        @app.post("/")
        def index() -> str:
            return request.files["file"].filename or ""

        @app.post("/async")
        async def async_index() -> str:
            return request.files["file"].filename or ""

    @pytest.mark.parametrize("path", ["/", "/async"])
    def test_error_says_what_was_submitted(self, app: Flask, path: str) -> None:
        with pytest.raises(DebugFilesKeyError) as caught:
            app.test_client().post(path, data={"file": "cat.png"})
        message = str(caught.value)
        assert "no file contents were transmitted" in message
        assert "This was submitted: 'cat.png'" in message
        assert 'enctype="multipart/form-data"' in message

    def test_key_that_was_not_sent_at_all(self, app: Flask) -> None:
        with pytest.raises(KeyError) as caught:
            app.test_client().post("/", data={"other": "cat.png"})
        assert not isinstance(caught.value, DebugFilesKeyError)

    def test_not_without_debug_mode(self, app: Flask) -> None:
        app.debug = False
        assert app.test_client().post("/", data={"file": "cat.png"}).status_code == 400

    def test_files_stay_what_they_are(self, app: Flask) -> None:
        with app.test_request_context("/", method="POST", data={"file": "cat.png"}):
            assert type(request.files).__name__ == "ImmutableMultiDict"
            assert request.files.get("other") is None
            with pytest.raises(DebugFilesKeyError):
                _ = request.files["file"]


class TestRedirect:
    @pytest.fixture(autouse=True)
    def view(self, app: Flask) -> None:
        # For a POST with a redirect that is none of 307 and 308.
        app.url_map.redirect_defaults = True
        app.add_url_rule("/page/", "page", lambda: "page", methods=["GET", "POST"])

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_method_that_loses_nothing(self, app: Flask, method: str) -> None:
        assert app.test_client().open("/page", method=method).status_code == 308

    def test_redirect_that_keeps_the_form(self, app: Flask) -> None:
        assert app.test_client().post("/page", data={}).status_code == 308

    @pytest.mark.parametrize(
        ("url", "new_url", "reason"),
        [
            ("/page", "http://localhost/page/", "ends with a slash"),
            ("/page", "http://localhost/page/?a=b", "ends with a slash"),
            ("/page", "http://localhost/other", None),
        ],
    )
    def test_message(self, app: Flask, url: str, new_url: str, reason: str | None) -> None:
        with app.test_request_context(url, method="POST") as ctx:
            redirect = ctx.request.routing_exception
            assert redirect is not None
            redirect.code = 301
            vars(redirect)["new_url"] = new_url
            with pytest.raises(FormDataRoutingRedirect) as caught:
                app.dispatch_request()
        message = str(caught.value)
        assert f"the canonical URL '{new_url}'" in message
        assert ("ends with a slash" in message) is (reason is not None)


class TestExplainTemplateLoading:
    @pytest.fixture(autouse=True)
    def templates(self, app: Flask, tmp_path: Path) -> None:
        app.config["EXPLAIN_TEMPLATE_LOADING"] = True
        for folder in ("templates", "bp_templates"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "both.html").write_text(folder)
        (tmp_path / "bp_templates" / "one.html").write_text("one")
        blueprint = Blueprint(
            "bp", __name__, root_path=str(tmp_path), template_folder="bp_templates"
        )
        blueprint.add_url_rule("/<name>", "show", lambda name: render_template(name))
        app.register_blueprint(blueprint)

    def explained(self, app: Flask, caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            try:
                app.test_client().get(f"/{name}")
            except jinja2.TemplateNotFound:
                pass
        assert len(caplog.messages) == 1
        return caplog.messages[0].splitlines()

    def test_found_once(
        self, app: Flask, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        lines = self.explained(app, caplog, "one.html")
        assert lines[0] == "Locating template 'one.html':"
        assert lines[1] == "    1: trying loader of application 'debughelpers_test'"
        assert f"       -> found ({str(tmp_path / 'bp_templates' / 'one.html')!r})" in lines
        assert "       class: jinja2.loaders.FileSystemLoader" in lines
        assert "       encoding: 'utf-8'" in lines
        assert not any("Warning" in line or "Error" in line for line in lines)

    def test_found_twice(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        lines = self.explained(app, caplog, "both.html")
        assert any(line.startswith("Warning: more than one") for line in lines)
        assert app.test_client().get("/both.html").text == "templates"  # the first one counts

    def test_not_found(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        lines = self.explained(app, caplog, "none.html")
        assert lines.count("       -> no match") == 2
        assert "Error: the template could not be found." in lines
        assert any("belongs to the blueprint 'bp'" in line for line in lines)

    def test_other_owner(self) -> None:
        assert _describe("something") == "'something'"
