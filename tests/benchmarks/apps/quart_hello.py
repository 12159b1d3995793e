"""The least app in Quart."""

from quart import Quart

app = Quart(__name__)


@app.get("/async")
async def hello():
    return "Hello, World!"
