"""New Relic, with a hook that names the transactions of async views: its own wrapper of a view
finds the transaction on the request's thread alone."""

from __future__ import annotations

import newrelic.agent
from flask import Flask, request
from monitored import add_views

app = Flask(__name__)


@app.before_request
def name_transaction():
    if request.endpoint is not None:
        newrelic.agent.set_transaction_name(request.endpoint, priority=3)


add_views(app)
