from asyncflask.json.tag import *  # noqa: F403
