import pytest
from flaskr import create_app
from flaskr.db import get_db, init_db
from werkzeug.security import generate_password_hash

PASSWORD = "correct horse"
HASH = generate_password_hash(PASSWORD, "pbkdf2:sha256:1")  # Quick to check, and so is a test.


class Visitor:
    """A test client with the steps that most tests begin with."""

    def __init__(self, client, name=None):
        self.client = client
        if name is not None:
            with client.application.app_context(), get_db() as db:
                db.execute("INSERT INTO user (name, password) VALUES (?, ?)", [name, HASH])
            self.post("/auth/login", name=name, password=PASSWORD)

    def get(self, path):
        return self.client.get(path).text

    def post(self, path, **form):
        """The page that one gets to see after it, redirects and all."""
        return self.client.post(path, data=form, follow_redirects=True).text


@pytest.fixture
def app(tmp_path):
    app = create_app({"TESTING": True, "DATABASE": str(tmp_path / "test.sqlite")})
    with app.app_context():
        init_db()
    return app


@pytest.fixture
def stranger(app):
    return Visitor(app.test_client())


@pytest.fixture
def ada(app):
    """Somebody with an account, and logged in."""
    return Visitor(app.test_client(), "Ada")


@pytest.fixture
def bob(app):
    return Visitor(app.test_client(), "Bob")
