from asyncflask.json.provider import *  # noqa: F403
