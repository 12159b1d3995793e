from asyncflask.sansio.blueprints import *  # noqa: F403
