from asyncflask.sansio.app import *  # noqa: F403
