"""The forms, and what is valid in them."""

from flask_wtf import CSRFProtect, FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, InputRequired, Length

csrf = CSRFProtect()


class TaskForm(FlaskForm):
    title = StringField("Task", [DataRequired("Enter a task."), Length(max=80)])


class AccountForm(FlaskForm):
    name = StringField("Name", [InputRequired("Enter your name."), Length(max=40)])
    password = PasswordField("Password", [InputRequired(), Length(min=8, max=200)])
