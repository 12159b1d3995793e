"""The least app in Flask."""

from flask import Flask

app = Flask(__name__)


@app.get("/async")
def hello():
    return "Hello, World!"
