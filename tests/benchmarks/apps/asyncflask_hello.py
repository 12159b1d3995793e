"""The least app in asyncflask."""

from asyncflask import Flask

app = Flask(__name__)


@app.get("/async")
async def hello():
    return "Hello, World!"
