import pytest
from flaskr.db import get_db

from asyncflask import session

NEW = {"name": "Cyd", "password": "correct horse"}


def test_register(app, stranger):
    assert "Register" in stranger.get("/auth/register")
    response = stranger.client.post("/auth/register", data=NEW)
    assert response.status_code == 302
    assert response.location == "/auth/login"
    assert "Welcome!" in stranger.get("/auth/login")
    with app.app_context():
        row = get_db().execute("SELECT name, password FROM user").fetchone()
    assert row["name"] == "Cyd"
    assert NEW["password"] not in row["password"]


@pytest.mark.parametrize(
    ("name", "password", "problem"),
    [
        ("", "correct horse", "A name has 1 to 40"),
        ("x" * 41, "correct horse", "A name has 1 to 40"),
        ("two\nlines", "correct horse", "A name has 1 to 40"),
        ("Cyd", "short", "A password has 8 to 200"),
        ("Cyd", "x" * 201, "A password has 8 to 200"),
        ("Ada", "correct horse", "The name Ada is taken."),
    ],
)
def test_register_refuses(ada, stranger, name, password, problem):
    page = stranger.post("/auth/register", name=name, password=password)
    assert problem in page
    assert "Welcome!" not in page


def test_login_and_logout(ada):
    with ada.client:
        assert "Ada" in ada.get("/")
        assert session["user"] == 1
        assert "Log in" in ada.post("/auth/logout")
        assert "user" not in session


@pytest.mark.parametrize(
    ("name", "password"), [("Ada", "wrong horse"), ("Nobody", "correct horse"), ("", "")]
)
def test_login_refuses(ada, stranger, name, password):
    page = stranger.post("/auth/login", name=name, password=password)
    assert "Wrong name or password" in page
    assert "Log out" not in page


def test_forms_without_their_fields_are_bad_requests(stranger):
    for path in "/auth/register", "/auth/login":
        assert stranger.client.post(path, data={"name": "Cyd"}).status_code == 400


def test_logout_is_not_a_link(ada):
    assert ada.client.get("/auth/logout").status_code == 405


def test_session_of_a_deleted_account(app, ada):
    with app.app_context(), get_db() as db:
        db.execute("DELETE FROM user")
    assert "Log in" in ada.get("/")
