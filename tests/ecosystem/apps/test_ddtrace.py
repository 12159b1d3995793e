"""Datadog's tracer: the command `ddtrace-run`, and `ddtrace.patch`. Both patch `flask` when it is
imported, by wrappers that are equal to what they wrap."""

from __future__ import annotations

import msgpack
import pytest
from monitoring import BROKEN, ENDINGS, watch

SETTINGS = {
    "DD_TRACE_AGENT_URL": "http://{collector}",
    "DD_TRACE_API_VERSION": "v0.4",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
}
WAYS = {
    "ddtrace-run": {"site": "unaware", "launcher": ["ddtrace-run"]},
    "patch": {"site": "ddtrace_site"},
}


@pytest.fixture(scope="module", params=WAYS)
def watched(request):
    with watch(**WAYS[request.param], **SETTINGS) as watched:
        yield watched


def requests(reports):
    """The spans of requests, among all that are sent."""
    found = []
    for report in reports:
        if report.path.endswith("/traces"):
            spans = [span for trace in msgpack.unpackb(report.body) for span in trace]
            found += [span for span in spans if span["name"] == "flask.request"]
    return found


def test_answers(watched):
    assert watched.statuses == {ending.path: ending.status for ending in ENDINGS}


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_requests(watched, ending):
    spans = watched.reported(requests, len(ENDINGS))
    (seen,) = (span for span in spans if span["meta"]["http.url"].endswith(ending.path))
    assert seen["resource"] == f"GET {ending.rule or '404'}"
    assert seen["meta"].get("flask.endpoint") == ending.endpoint
    assert seen["meta"]["http.status_code"] == str(ending.status)
    assert seen.get("error", 0) == (ending in BROKEN)
