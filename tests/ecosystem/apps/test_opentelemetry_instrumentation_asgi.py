"""OpenTelemetry's ASGI middleware, which knows no framework; and Starlette's, which looks for the
route."""

from __future__ import annotations

import pytest
from monitoring import ENDINGS, watch
from serving import UNDER_FLASK
from spans import VARIABLES, server_spans

pytestmark = pytest.mark.skipif(UNDER_FLASK, reason="Flask is no ASGI app.")
MIDDLEWARE = ["opentelemetry.instrumentation.asgi", "starlette.middleware.opentelemetry"]


@pytest.fixture(scope="module", params=MIDDLEWARE)
def watched(request):
    site = "opentelemetry_instrumentation_asgi_site"
    with watch(site, MIDDLEWARE=request.param, **VARIABLES) as watched:
        watched.is_starlettes = request.param.startswith("starlette")
        yield watched


def test_answers(watched):
    assert watched.statuses == {ending.path: ending.status for ending in ENDINGS}


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_spans(watched, ending):
    spans = watched.reported(server_spans, len(ENDINGS))
    path, status = "http.target", "http.status_code"
    if watched.is_starlettes:
        path, status = "url.path", "http.response.status_code"
    (seen,) = (span for span in spans if span.attributes[path] == ending.path)
    assert seen.attributes[status] == ending.status
    if watched.is_starlettes:
        assert seen.attributes.get("http.route") == ending.rule
        assert seen.name == (f"GET {ending.rule}" if ending.rule else "GET")
    else:
        assert seen.name == f"GET {ending.path}"
