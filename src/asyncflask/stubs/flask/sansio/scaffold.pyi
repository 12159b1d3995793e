from asyncflask.sansio.scaffold import *  # noqa: F403
