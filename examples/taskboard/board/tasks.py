"""The list of tasks."""

from asyncflask import Blueprint, redirect, render_template, url_for
from flask_login import current_user, login_required
from sqlalchemy import select

from .forms import TaskForm
from .live import changed
from .models import Task, db
from .notify import notify

bp = Blueprint("tasks", __name__)


@bp.before_request
@login_required
def members_only():
    pass


def tasks():
    return db.session.scalars(select(Task).order_by(Task.done, Task.id))


@bp.get("/")
def index():
    return render_template("tasks.html", tasks=tasks(), form=TaskForm())


@bp.get("/tasks")
def just_the_list():
    return render_template("list.html", tasks=tasks())


@bp.post("/tasks")
def add():
    form = TaskForm()
    if not form.validate():
        return render_template("tasks.html", tasks=tasks(), form=form), 400
    db.session.add(Task(title=form.title.data, author=current_user.name))
    db.session.commit()
    changed()
    notify(f"{current_user.name} added: {form.title.data}")
    return redirect(url_for("tasks.index"))


@bp.post("/tasks/<int:id>/toggle")
def toggle(id):
    task = db.get_or_404(Task, id)
    task.done = not task.done
    db.session.commit()
    changed()
    if task.done:
        notify(f"{current_user.name} finished: {task.title}")
    return redirect(url_for("tasks.index"))
