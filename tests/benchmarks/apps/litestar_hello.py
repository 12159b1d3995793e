"""The least app in Litestar."""

from litestar import Litestar, MediaType, get


@get("/async", media_type=MediaType.TEXT)
async def hello() -> str:
    return "Hello, World!"


app = Litestar([hello])
