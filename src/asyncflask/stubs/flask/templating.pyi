from asyncflask.templating import *  # noqa: F403
