"""Flask-WTF: a form with a file, CSRF protection for all, sync views and async views."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from flask import Flask, render_template_string, request
from flask_wtf import CSRFProtect, FlaskForm
from flask_wtf.file import FileAllowed, FileField, FileRequired
from pool import Pool
from wtforms import StringField
from wtforms.validators import InputRequired, Length

app = Flask(__name__)
app.secret_key = "for these tests"
csrf = CSRFProtect(app)
pool = Pool(app, Path(os.environ["SITE_FOLDER"]) / "pool.db")


class PhotoForm(FlaskForm):
    title = StringField(validators=[InputRequired(), Length(max=10)])
    photo = FileField(validators=[FileRequired(), FileAllowed(["png"], "PNG only")])


PAGE = """
<form method=post enctype=multipart/form-data>{{ form.csrf_token }}{{ form.title }}{{ form.photo }}
{% for name, errors in form.errors.items() %}<p>{{ name }}: {{ errors|join(" ") }}</p>{% endfor %}
"""


@app.route("/plain", methods=["GET", "POST"])
def plain():
    form = PhotoForm()
    if form.validate_on_submit():
        return f"{form.title.data}: {len(form.photo.data.read())} bytes"
    return render_template_string(PAGE, form=form)


@app.route("/async", methods=["GET", "POST"])
async def asynchronous():
    await asyncio.sleep(0)
    form = PhotoForm()
    if form.validate_on_submit():
        await asyncio.sleep(0)
        return f"{form.title.data}: {len(form.photo.data.read())} bytes"
    return render_template_string(PAGE, form=form)


@app.post("/hook")
@csrf.exempt
async def hook():
    return {"got": request.get_json()}


@app.post("/pool")
async def visit():
    return await pool.visit()
