"""The pages: the list, and the login, which protects the API and the MCP server as well."""

from asyncflask import (
    Blueprint,
    abort,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)

pages = Blueprint("pages", __name__)
OPEN = {"pages.log_in", "static"}


@pages.before_app_request
def log_in_first():
    g.user = session.get("user")
    if g.user is None and request.endpoint not in OPEN:
        return redirect(url_for("pages.log_in")) if request.path == "/" else abort(401)


@pages.route("/login", methods=["GET", "POST"])
def log_in():
    if name := request.form.get("name", "").strip()[:30]:
        session["user"] = name
        return redirect(url_for("pages.shopping_list"))
    return render_template("login.html")


@pages.get("/")
def shopping_list():
    return render_template("pantry.html")
