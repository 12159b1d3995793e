"""The least app in Sanic."""

from sanic import Sanic
from sanic.response import text

app = Sanic("hello")


@app.get("/async")
async def hello(request):
    return text("Hello, World!")
