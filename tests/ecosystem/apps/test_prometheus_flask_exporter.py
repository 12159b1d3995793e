"""Prometheus metrics: by hooks, and by the decorators of views."""

from __future__ import annotations

import pytest
from monitoring import BROKEN, ENDINGS, watch
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture(scope="module")
def watched():
    with watch("prometheus_flask_exporter_site") as watched:
        yield watched


@pytest.fixture(scope="module")
def samples(watched):
    for name in ("a", "b", "a"):
        assert watched.client.get(f"/counted/{name}").text == name
    text = watched.client.get("/metrics").text
    return [s for family in text_string_to_metric_families(text) for s in family.samples]


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_requests(samples, ending):
    labels = {"method": "GET", "status": str(ending.status)}
    seen = [
        sample.value
        for sample in samples
        if sample.name == "flask_http_request_duration_seconds_count"
        and sample.labels == {**labels, "url_rule": ending.rule or "None"}
    ]
    assert seen == [1]


def test_errors(samples):
    totals = {s.labels["status"]: s.value for s in samples if s.name == "flask_http_request_total"}
    assert totals["500"] == len(BROKEN)


def test_decorated(samples):
    counts = {s.labels["name"]: s.value for s in samples if s.name == "counted_total"}
    assert counts == {"a": 2, "b": 1}
