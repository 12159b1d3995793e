"""``pytest -p asyncflask.as_flask``: run the tests of a Flask project on asyncflask.

Importing this module calls `install_as_flask`. pytest does so before it imports other plugins
and `conftest.py`, any of which may import Flask.
"""

from __future__ import annotations

import pytest

from .alias import install_as_flask, users_of_flask

try:
    install_as_flask()
except RuntimeError:
    user = next(users_of_flask(), "a module that has been unloaded")
    raise pytest.UsageError(
        f"The real Flask was imported earlier, by {user!r}. Put '-p asyncflask.as_flask' before"
        " other '-p' options, on pytest's command line or in its 'addopts' setting."
    ) from None
