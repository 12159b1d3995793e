from asyncflask.sessions import *  # noqa: F403
