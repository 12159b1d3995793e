"""The least app in Falcon."""

import falcon.asgi


class Hello:
    async def on_get(self, req, resp):
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "Hello, World!"


app = falcon.asgi.App()
app.add_route("/async", Hello())
