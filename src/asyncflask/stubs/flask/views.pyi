from asyncflask.views import *  # noqa: F403
