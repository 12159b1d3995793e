from asyncflask.blueprints import *  # noqa: F403
