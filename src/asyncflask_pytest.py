"""Loaded by pytest in every environment that has asyncflask: with ``FLASK_AS_FLASK=1``, `import
flask` gives asyncflask to the tests. Without it nothing happens, and asyncflask is not imported,
which is why this module is not part of it.
"""

import os

if os.environ.get("FLASK_AS_FLASK"):
    import pytest

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
