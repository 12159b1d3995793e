"""The least app in FastAPI."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/async", response_class=PlainTextResponse)
async def hello():
    return "Hello, World!"
