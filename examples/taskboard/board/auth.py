"""Accounts: register, log in, log out."""

from asyncflask import Blueprint, redirect, render_template, url_for
from flask_login import LoginManager, login_user, logout_user
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from .forms import AccountForm
from .models import User, db

bp = Blueprint("auth", __name__)
login = LoginManager()
login.login_view = "auth.log_in"


@login.user_loader
def load_user(id):
    return db.session.get(User, int(id))


@bp.route("/register", methods=["GET", "POST"])
def register():
    form = AccountForm()
    if form.validate_on_submit():
        user = User(name=form.name.data)
        user.set_password(form.password.data)
        db.session.add(user)
        try:
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            form.name.errors = ["This name is taken."]
        else:
            login_user(user)
            return redirect(url_for("tasks.index"))
    return render_template("account.html", form=form, title="Register")


@bp.route("/login", methods=["GET", "POST"])
def log_in():
    form = AccountForm()
    if form.validate_on_submit():
        user = db.session.scalar(select(User).filter_by(name=form.name.data))
        if user is not None and user.has_password(form.password.data):
            login_user(user)
            return redirect(url_for("tasks.index"))
        form.password.errors = ["Wrong name or password."]
    return render_template("account.html", form=form, title="Log in")


@bp.post("/logout")
def log_out():
    logout_user()
    return redirect(url_for("auth.log_in"))
