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
    globals_of_frames = [entry.frame.f_globals for entry in call.excinfo.traceback]
    if any(_is_of("asyncflask", names) for names in globals_of_frames):
        for names in globals_of_frames:
            if _is_of("asyncflask", names) or _is_of("werkzeug.test", names):
                names["__tracebackhide__"] = True


def _is_of(module: str, names: dict[str, object]) -> bool:
    return f"{names.get('__name__')}.".startswith(f"{module}.")
