from asyncflask.wrappers import *  # noqa: F403
