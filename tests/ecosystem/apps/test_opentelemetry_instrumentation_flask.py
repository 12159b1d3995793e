"""OpenTelemetry's instrumentation of Flask: put on an app in its code, and brought by the command
`opentelemetry-instrument`, which imports `flask` before the program begins."""

from __future__ import annotations

import pytest
from monitoring import BROKEN, ENDINGS, watch
from serving import UNDER_FLASK
from spans import VARIABLES, server_spans

WAYS = {
    "programmatic": {"site": "opentelemetry_instrumentation_flask_site"},
    "automatic": {
        "site": "unaware",
        "launcher": ["opentelemetry-instrument"],
        **({} if UNDER_FLASK else {"FLASK_AS_FLASK": "1"}),
    },
}


@pytest.fixture(scope="module", params=WAYS)
def watched(request):
    with watch(**WAYS[request.param], **VARIABLES) as watched:
        yield watched


def test_answers(watched):
    assert watched.statuses == {ending.path: ending.status for ending in ENDINGS}


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_spans(watched, ending):
    spans = watched.reported(server_spans, len(ENDINGS))
    (seen,) = (span for span in spans if span.attributes["http.target"] == ending.path)
    assert seen.name == f"GET {ending.rule or ending.path}"
    assert seen.attributes.get("http.route") == ending.rule
    assert seen.attributes["http.status_code"] == ending.status
    assert seen.errors == (["ZeroDivisionError"] if ending in BROKEN else [])
