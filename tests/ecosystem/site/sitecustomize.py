"""What the user of asyncflask writes at the top of a program, for programs that we do not write:
pytest with an extension's suite, and the `flask` commands that a suite starts.
"""

from __future__ import annotations

import asyncflask
import asyncflask.alias

# For a user 'flask_socketio' is ours too, which has tests of its own. Here it is the extension.
asyncflask.alias._OURS.pop("flask_socketio", None)
asyncflask.install_as_flask()
