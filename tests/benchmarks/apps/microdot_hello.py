"""The least app in Microdot."""

from microdot.asgi import Microdot

app = Microdot()


@app.get("/async")
async def hello(request):
    return "Hello, World!"
