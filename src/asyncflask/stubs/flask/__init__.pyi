from asyncflask import *  # noqa: F403
