"""Flask-Sock: WebSockets of sync functions, beside sync and async views."""

from __future__ import annotations

import json

from flask import Blueprint, Flask, request, session
from flask_sock import Sock

app = Flask(__name__)
app.secret_key = "for these tests"
app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["chat"], "ping_interval": 25}
sock = Sock(app)
members = Blueprint("members", __name__, url_prefix="/members")
ended = []


@members.before_request
def log_in():
    if "user" not in session:
        return "log in first", 401


@app.post("/login")
async def login():
    session["user"] = request.form["user"]
    return "welcome"


@sock.route("/echo")
def echo(ws):
    try:
        while True:
            ws.send(ws.receive())
    finally:
        ended.append(ws.close_reason)


@sock.route("/sum/<int:count>")
def add(ws, count):
    ws.send(str(sum(int(ws.receive()) for _ in range(count))))


@sock.route("/patient")
def patient(ws):
    assert ws.receive(timeout=0.05) is None
    ws.send("nothing came")


@sock.route("/closing")
def closing(ws):
    ws.close(4001, ws.receive())


@sock.route("/subprotocol")
def subprotocol(ws):
    ws.send(json.dumps({"subprotocol": ws.subprotocol, "query": request.args["q"]}))


@sock.route("/ws", bp=members)
def member(ws):
    ws.send(f"hello {session['user']}")


app.register_blueprint(members)


@app.get("/ended")
async def number_ended():
    return str(len(ended))
