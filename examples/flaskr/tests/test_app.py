import sqlite3

import pytest
from flaskr import create_app
from flaskr.db import get_db


def test_settings(monkeypatch):
    monkeypatch.setenv("FLASKR_SECRET_KEY", "from outside")
    monkeypatch.setenv("FLASKR_DATABASE", "elsewhere.sqlite")
    app = create_app({"DATABASE": "given.sqlite"})
    assert app.config["SECRET_KEY"] == "from outside"
    assert app.config["DATABASE"] == "given.sqlite"


def test_errors_are_pages_of_the_blog(stranger):
    for path, status in ("/nothing", 404), ("/auth/logout", 405):
        response = stranger.client.get(path)
        assert response.status_code == status
        assert 'class="brand"' in response.text
    assert "POST" in response.headers["Allow"]


def test_connection_is_kept_and_closed(app):
    with app.app_context():
        connection = get_db()
        assert get_db() is connection
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_init_db_command(tmp_path):
    path = tmp_path / "new" / "blog.sqlite"
    app = create_app({"DATABASE": str(path)})
    for _ in range(2):  # The second time does no harm.
        result = app.test_cli_runner().invoke(args=["init-db"])
        assert result.exit_code == 0, result.output
        assert result.output == f"The database is ready: {path}\n"
    with app.app_context():
        assert get_db().execute("SELECT count(*) FROM post").fetchone()[0] == 0
