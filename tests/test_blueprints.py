"""What `Blueprint` adds to that of `sansio`: files and resources."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from asyncflask import Blueprint, Flask, url_for
from asyncflask.cli import AppGroup
from asyncflask.sansio.blueprints import Blueprint as SansioBlueprint


@pytest.fixture
def blueprint(tmp_path: Path) -> Blueprint:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.txt").write_text("static", "utf-8")
    (tmp_path / "resource.txt").write_text("résource", "utf-8")
    return Blueprint(
        "bp", __name__, root_path=str(tmp_path), static_folder="static", url_prefix="/bp"
    )


@pytest.fixture
def app(blueprint: Blueprint) -> Flask:
    app = Flask("blueprints_test", static_folder=None)
    app.testing = True
    app.register_blueprint(blueprint)
    return app


def test_is_one_of_sansio() -> None:
    blueprint = Blueprint("bp", __name__)
    assert isinstance(blueprint, SansioBlueprint)
    assert isinstance(blueprint.cli, AppGroup)
    assert blueprint.cli.name == "bp"


class TestStaticFiles:
    def test_served(self, app: Flask) -> None:
        with app.test_request_context():
            url = url_for("bp.static", filename="a.txt")
        assert url == "/bp/static/a.txt"
        with app.test_client().get(url) as response:
            assert response.get_data() == b"static"
            assert response.cache_control.no_cache
        assert app.test_client().get("/bp/static/none.txt").status_code == 404

    @pytest.mark.parametrize("value", [3600, timedelta(hours=1)])
    def test_max_age_of_the_config(self, app: Flask, value: object) -> None:
        app.config["SEND_FILE_MAX_AGE_DEFAULT"] = value
        with app.test_client().get("/bp/static/a.txt") as response:
            assert response.cache_control.max_age == 3600

    def test_max_age_of_a_subclass(self, tmp_path: Path) -> None:
        class Own(Blueprint):
            def get_send_file_max_age(self, filename: str | None) -> int | None:
                assert filename == "a.txt"
                return 10

        (tmp_path / "a.txt").write_text("static")
        app = Flask("blueprints_test", static_folder=None)
        app.register_blueprint(Own("own", __name__, static_folder=tmp_path, static_url_path="/s"))
        with app.test_client().get("/s/a.txt") as response:
            assert response.cache_control.max_age == 10

    def test_no_folder(self, app: Flask) -> None:
        with app.test_request_context(), pytest.raises(RuntimeError, match="'none' has no static"):
            Blueprint("none", __name__).send_static_file("a.txt")


class TestResources:
    @pytest.mark.parametrize(
        ("mode", "encoding", "expected"),
        [
            ("rb", None, "résource".encode()),
            ("r", "utf-8", "résource"),
            ("rt", "latin-1", "rÃ©source"),
        ],
    )
    def test_open(
        self, blueprint: Blueprint, mode: str, encoding: str | None, expected: object
    ) -> None:
        with blueprint.open_resource("resource.txt", mode, encoding) as file:
            assert file.read() == expected

    def test_text_is_utf_8(self, blueprint: Blueprint) -> None:
        with blueprint.open_resource("resource.txt", "r") as file:
            assert file.read() == "résource"

    @pytest.mark.parametrize("mode", ["w", "a", "x", "r+"])
    def test_only_for_reading(self, blueprint: Blueprint, mode: str) -> None:
        with pytest.raises(ValueError, match="read-only"):
            blueprint.open_resource("resource.txt", mode)
