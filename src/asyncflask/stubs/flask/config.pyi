from asyncflask.config import *  # noqa: F403
