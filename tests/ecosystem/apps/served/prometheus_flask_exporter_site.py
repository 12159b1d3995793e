"""Prometheus metrics, set up as the extension's page says."""

from __future__ import annotations

from flask import Flask, request
from monitored import add_views
from prometheus_flask_exporter import PrometheusMetrics

app = Flask(__name__)
metrics = PrometheusMetrics(app, group_by="url_rule")
add_views(app)


def name():
    return request.view_args["name"]


@app.get("/counted/<name>")
@metrics.counter("counted", "Visits by name", labels={"name": name})
async def counted(name):
    return name
