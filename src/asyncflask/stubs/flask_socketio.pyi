from asyncflask.socketio import *  # noqa: F403
