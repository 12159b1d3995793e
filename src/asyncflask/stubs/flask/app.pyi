from asyncflask.app import *  # noqa: F403
