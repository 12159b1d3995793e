"""What the tests of Flask-RESTX 1.3.2 take for granted and their source release lacks: an app, an
api in a blueprint, a client that knows JSON, and a request context for marked tests."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

flask: Any = importlib.import_module("flask")
testing: Any = importlib.import_module("flask.testing")
restx: Any = importlib.import_module("flask_restx")


class Client(testing.FlaskClient):  # type: ignore[misc]
    def _checked(self, response: Any, status: int) -> Any:
        assert response.status_code == status
        assert response.content_type == "application/json"
        return json.loads(response.get_data())

    def get_json(self, url: str, status: int = 200, **kwargs: Any) -> Any:
        return self._checked(self.get(url, **kwargs), status)

    def post_json(self, url: str, data: Any, status: int = 200, **kwargs: Any) -> Any:
        return self._checked(self.post(url, json=data, **kwargs), status)

    def get_specs(self, prefix: str = "", status: int = 200, **kwargs: Any) -> Any:
        return self.get_json(f"{prefix}/swagger.json", status, **kwargs)


@pytest.fixture
def app() -> Any:
    app = flask.Flask(__name__, subdomain_matching=True)
    app.test_client_class = Client
    return app


@pytest.fixture
def api(request: pytest.FixtureRequest, app: Any) -> Any:
    marker = request.node.get_closest_marker("api")
    options = dict(marker.kwargs) if marker else {}
    prefix, subdomain = options.pop("prefix", None), options.pop("subdomain", None)
    blueprint = flask.Blueprint("api", __name__, url_prefix=prefix, subdomain=subdomain)
    api = restx.Api(blueprint, **options)
    app.register_blueprint(blueprint)
    return api


@pytest.fixture(autouse=True)
def marked_request_context(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("request_context")
    if marker is None:
        yield
        return
    with request.getfixturevalue("app").test_request_context(*marker.args, **marker.kwargs):
        yield
