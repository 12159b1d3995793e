from asyncflask.signals import *  # noqa: F403
