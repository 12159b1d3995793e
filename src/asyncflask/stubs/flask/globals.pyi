from asyncflask.ctx import _cv_app as _cv_app
from asyncflask.ctx import _cv_request as _cv_request
from asyncflask.globals import *  # noqa: F403
