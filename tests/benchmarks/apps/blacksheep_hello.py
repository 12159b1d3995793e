"""The least app in BlackSheep."""

from blacksheep import Application, get

app = Application()


@get("/async")
async def hello():
    return "Hello, World!"
