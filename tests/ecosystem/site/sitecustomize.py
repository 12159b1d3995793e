"""What the user of asyncflask writes at the top of a program, for programs that we do not write:
pytest with an extension's suite, and the `flask` commands that a suite starts.
"""

from __future__ import annotations

import asyncflask

asyncflask.install_as_flask()
