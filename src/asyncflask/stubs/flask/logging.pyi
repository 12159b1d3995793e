from asyncflask.logging import *  # noqa: F403
