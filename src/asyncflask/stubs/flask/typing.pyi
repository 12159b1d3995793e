from asyncflask.typing import *  # noqa: F403
