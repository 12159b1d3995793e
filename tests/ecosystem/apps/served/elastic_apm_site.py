"""Elastic APM, set up as its page for Flask says."""

from __future__ import annotations

from elasticapm.contrib.flask import ElasticAPM
from flask import Flask
from monitored import add_views

app = Flask(__name__)
app.config["ELASTIC_APM"] = {"SERVICE_NAME": "watched"}
apm = ElasticAPM(app)
add_views(app)
