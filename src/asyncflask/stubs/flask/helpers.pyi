from asyncflask.helpers import *  # noqa: F403
