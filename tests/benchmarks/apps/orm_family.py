"""A page of an app with Flask-SQLAlchemy, Flask-Login and Flask-WTF, used as their documentation
has it. `flask` and the extensions are whatever the module that imports this one made them.

The page shows an article, which is one query by primary key, to a user who is logged in, whose
loader is another one; and a form with its CSRF token. Each tenth request posts the form.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from flask import Flask, redirect, render_template, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect, FlaskForm
from flask_wtf.csrf import generate_csrf
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from wtforms import StringField, SubmitField, TextAreaField
from wtforms.validators import DataRequired, Length


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
login_manager = LoginManager()
csrf = CSRFProtect()
FOLDER = tempfile.TemporaryDirectory()
"""Of the database; it is removed at exit."""


class User(db.Model, UserMixin):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Article(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    text: Mapped[str]


class CommentForm(FlaskForm):
    name = StringField("Name", validators=[DataRequired(), Length(max=80)])
    comment = TextAreaField("Comment", validators=[DataRequired()])
    send = SubmitField("Send")


@login_manager.user_loader
def load_user(user_id: str) -> User | None:
    return db.session.get(User, int(user_id))


def login() -> Any:
    """The session of a user; and the token for a form of theirs, as text."""
    login_user(db.session.get_one(User, 1))
    return generate_csrf(), {"Content-Type": "text/plain"}


@login_required
def article(id: int) -> Any:
    found = db.get_or_404(Article, id)
    form = CommentForm()
    if form.validate_on_submit():
        return redirect(url_for("article", id=found.id))
    form.name.data = current_user.name
    return render_template("article.html", article=found, form=form)


def make_app() -> Flask:
    app = Flask("bench", root_path=str(Path(__file__).parent), static_folder=None)
    app.secret_key = "secret"
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{FOLDER.name}/app.db"
    for extension in (db, login_manager, csrf):
        extension.init_app(app)
    app.add_url_rule("/login", view_func=login)
    app.add_url_rule("/articles/<int:id>", view_func=article, methods=["GET", "POST"])
    with app.app_context():
        db.create_all()
        db.session.add(User(name="Ada Lovelace"))
        db.session.add_all(Article(title=f"Article <{i}>", text="x" * 400) for i in range(100))
        db.session.commit()
    return app
