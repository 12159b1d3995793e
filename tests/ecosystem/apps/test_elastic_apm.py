"""Elastic APM: by Flask's signals, and by what it is to do when a response is closed."""

from __future__ import annotations

import json

import pytest
from monitoring import BROKEN, ENDINGS, watch


@pytest.fixture(scope="module")
def watched():
    settings = {
        "ELASTIC_APM_SERVER_URL": "http://{collector}",
        "ELASTIC_APM_API_REQUEST_TIME": "200ms",
        "ELASTIC_APM_CENTRAL_CONFIG": "false",
        "ELASTIC_APM_CLOUD_PROVIDER": "none",
        "ELASTIC_APM_METRICS_INTERVAL": "0ms",
    }
    with watch("elastic_apm_site", **settings) as watched:
        yield watched


def events(kind):
    """Gives a function for the events of that *kind* in what is sent, one on each line."""

    def select(reports):
        lines = (json.loads(line) for report in reports for line in report.body.splitlines())
        return [line[kind] for line in lines if kind in line]

    return select


def test_answers(watched):
    assert watched.statuses == {ending.path: ending.status for ending in ENDINGS}


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_transactions(watched, ending):
    transactions = watched.reported(events("transaction"), len(ENDINGS))
    (seen,) = (
        each
        for each in transactions
        if each["context"]["request"]["url"]["pathname"] == ending.path
    )
    assert seen["name"] == (f"GET {ending.rule}" if ending.rule else "")
    assert seen["result"] == f"HTTP {ending.status // 100}xx"
    if ending not in BROKEN:  # of these it notes no response
        assert seen["context"]["response"]["status_code"] == ending.status


@pytest.mark.parametrize("ending", BROKEN, ids=str)
def test_errors(watched, ending):
    errors = watched.reported(events("error"), len(BROKEN))
    (seen,) = (each for each in errors if each["culprit"] == f"monitored.{ending.endpoint}")
    assert seen["exception"]["type"] == "ZeroDivisionError"
    assert seen["context"]["request"]["url"]["pathname"] == ending.path
    transactions = watched.reported(events("transaction"), len(ENDINGS))
    assert seen["transaction_id"] in [each["id"] for each in transactions]
