from asyncflask.cli import *  # noqa: F403
