from asyncflask.testing import *  # noqa: F403
