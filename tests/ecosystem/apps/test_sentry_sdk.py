"""Sentry's SDK: it puts a WSGI function in the place of `Flask.__call__`."""

from __future__ import annotations

import json

import pytest
from monitoring import BROKEN, ENDINGS, watch


@pytest.fixture(scope="module")
def watched():
    with watch("sentry_sdk_site", SENTRY_DSN="http://key@{collector}/1") as watched:
        yield watched


def items(kind):
    """Gives a function for the items of that *kind* in what is sent: each is a line of headers
    above a line of JSON."""

    def select(reports):
        found = []
        for report in reports:
            lines = report.body.splitlines()[1:]
            for headers, payload in zip(lines[::2], lines[1::2], strict=False):
                if json.loads(headers).get("type") == kind:
                    found.append(json.loads(payload))
        return found

    return select


def test_answers(watched):
    assert watched.statuses == {ending.path: ending.status for ending in ENDINGS}


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_transactions(watched, ending):
    transactions = watched.reported(items("transaction"), len(ENDINGS))
    (seen,) = (each for each in transactions if each["request"]["url"].endswith(ending.path))
    assert seen["transaction"] == (ending.endpoint or "generic WSGI request")
    assert seen["contexts"]["response"]["status_code"] == ending.status
    assert seen["request"]["method"] == "GET"
    assert seen["request"]["env"]["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("ending", BROKEN, ids=str)
def test_errors(watched, ending):
    events = watched.reported(items("event"), len(BROKEN))
    (seen,) = (each for each in events if each["transaction"] == ending.endpoint)
    error = seen["exception"]["values"][-1]
    assert error["type"] == "ZeroDivisionError"
    assert error["stacktrace"]["frames"][-1]["function"] == ending.endpoint
    assert seen["request"]["url"].endswith(ending.path)
