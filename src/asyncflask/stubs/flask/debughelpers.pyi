from asyncflask.debughelpers import *  # noqa: F403
