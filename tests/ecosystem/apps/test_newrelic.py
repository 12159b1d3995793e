"""New Relic's agent, brought by its command: it patches `flask.app` and others when they are
imported. In its developer mode it reports to nobody, and notes in a file what it would send."""

from __future__ import annotations

import ast
import signal

import pytest
from monitoring import BROKEN, ENDINGS, watch
from serving import UNDER_FLASK


@pytest.fixture(scope="module", params=["unaware", "newrelic_site"])
def watched(request, tmp_path_factory):
    audit = tmp_path_factory.mktemp("newrelic") / "audit.log"
    settings = {
        "NEW_RELIC_LICENSE_KEY": "k" * 40,
        "NEW_RELIC_APP_NAME": "watched",
        "NEW_RELIC_DEVELOPER_MODE": "true",
        "NEW_RELIC_AUDIT_LOG": str(audit),
        "NEW_RELIC_STARTUP_TIMEOUT": "20",
        "NEW_RELIC_SHUTDOWN_TIMEOUT": "12",
    }
    with watch(request.param, launcher=["newrelic-admin", "run-program"], **settings) as watched:
        watched.server.stop(signal.SIGINT)  # at the end of Python, the agent sends what it has
        watched.audit = audit.read_text()
        watched.names_endpoints = request.param == "newrelic_site"
    return watched


def sent(audit, method):
    """The events that were sent by *method*, each as one dict of its attributes."""
    _, _, rest = audit.partition(f"'method': '{method}'")
    _, _, rest = rest.partition("DATA: ")
    data, _, _ = rest.partition("\n\n")
    return [{**intrinsic, **agent} for intrinsic, _, agent in ast.literal_eval(data)[2]]


def test_answers(watched):
    assert watched.statuses == {ending.path: ending.status for ending in ENDINGS}


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_transactions(watched, ending):
    transactions = sent(watched.audit, "analytic_event_data")
    (seen,) = (each for each in transactions if each["request.uri"] == ending.path)
    assert seen["http.statusCode"] == ending.status
    assert seen.get("error", False) == (ending.status in (403, 500))
    name = seen["name"].rpartition(".")[2]
    if ending.endpoint is None:
        assert name == "handle_http_exception"
    elif watched.names_endpoints:
        assert seen["name"] == f"WebTransaction/Function/{ending.endpoint}"
    elif UNDER_FLASK or ending.path.startswith("/sync/"):
        assert name == ending.endpoint


@pytest.mark.parametrize("ending", BROKEN, ids=str)
def test_errors(watched, ending):
    errors = sent(watched.audit, "error_event_data")
    (seen,) = (each for each in errors if each["request.uri"] == ending.path)
    assert seen["error.class"] == "builtins:ZeroDivisionError"
