"""A Dash app as its tutorial has them: what `test_dash.py` serves."""

from __future__ import annotations

import flask
from dash import Dash, Input, Output, Patch, State, ctx, dash_table, dcc, html
from dash.exceptions import PreventUpdate

app = Dash(__name__)
server = app.server

app.layout = html.Div(
    [
        dcc.Location(id="url"),
        html.Button("Click", id="button", n_clicks=0),
        html.P(id="clicks"),
        dcc.Input(id="name", value="Ada"),
        html.P(id="greeting"),
        html.Button("Fail", id="fail"),
        html.P("nothing yet", id="failed"),
        html.Button("Add", id="add"),
        html.Ul(id="list"),
        dcc.Dropdown(["a", "b"], "a", id="choice"),
        dcc.Graph(id="graph"),
        dash_table.DataTable([{"x": 1}, {"x": 2}], [{"name": "x", "id": "x"}], id="table"),
        html.Button("Download", id="download-button"),
        dcc.Download(id="download"),
    ]
)


@app.callback(Output("clicks", "children"), Input("button", "n_clicks"))
def click(clicks):
    return f"{clicks} clicks on {flask.request.path}"


@app.callback(Output("greeting", "children"), Input("name", "value"), State("url", "pathname"))
async def greet(name, path):
    ctx.response.set_cookie("name", name)
    return f"Hello, {name}, at {path}"


@app.callback(Output("failed", "children"), Input("fail", "n_clicks"))
def fail(clicks):
    if not clicks:
        raise PreventUpdate
    raise ValueError("as it should")


@app.callback(Output("list", "children"), Input("add", "n_clicks"), prevent_initial_call=True)
def add(clicks):
    patch = Patch()
    patch.append(html.Li(str(clicks)))
    return patch


@app.callback(Output("graph", "figure"), Input("choice", "value"))
def draw(choice):
    return {"data": [{"x": [1, 2], "y": [1, 2]}], "layout": {"title": {"text": f"plot {choice}"}}}


@app.callback(
    Output("download", "data"), Input("download-button", "n_clicks"), prevent_initial_call=True
)
def download(_):
    return {"content": "a,b", "filename": "data.csv"}


@server.get("/plain")
def plain():
    return "beside Dash"
