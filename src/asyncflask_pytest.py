"""Loaded by pytest in every environment that has asyncflask: with ``FLASK_AS_FLASK=1``, `import
flask` gives asyncflask to the tests. Without it asyncflask is not imported, which is why this
module is not part of it. The traceback of a test that fails has no frames of asyncflask.
"""

import os

import pytest

if os.environ.get("FLASK_AS_FLASK"):
    from asyncflask.alias import install_as_flask_if_asked, users_of_flask

    try:
        install_as_flask_if_asked()
    except RuntimeError:
        user = next(users_of_flask(), "a module that has been unloaded")
        raise pytest.UsageError(
            f"FLASK_AS_FLASK=1 takes effect too late: {user!r} had already imported the real"
            " Flask. Run 'pytest -p asyncflask.as_flask', which is loaded before other"
            " plugins."
        ) from None


def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Have pytest leave out the frames of asyncflask and of Werkzeug's test client between the
    test and the code of the app, as the debugger does. ``--full-trace`` shows them."""
    if call.excinfo is None:
        return
    for entry in call.excinfo.traceback:
        names = entry.frame.f_globals
        if str(names.get("__name__")).startswith(("asyncflask.", "werkzeug.test")):
            names["__tracebackhide__"] = True
