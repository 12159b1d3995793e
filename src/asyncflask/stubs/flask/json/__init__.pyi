from asyncflask.json import *  # noqa: F403
