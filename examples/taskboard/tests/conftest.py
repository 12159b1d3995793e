import pytest
from board import create_app

pytest_plugins = ["asyncflask.pytest_plugin"]


@pytest.fixture
def app():
    return create_app(
        SQLALCHEMY_DATABASE_URI="sqlite:///:memory:", TESTING=True, WTF_CSRF_ENABLED=False
    )


@pytest.fixture
def ada(client):
    """A browser in which Ada is logged in."""
    client.post("/register", data={"name": "Ada", "password": "correct horse"})
    return client
