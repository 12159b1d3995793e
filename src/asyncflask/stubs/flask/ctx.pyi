from asyncflask.ctx import *  # noqa: F403
from asyncflask.ctx import _AppCtxGlobals as _AppCtxGlobals
