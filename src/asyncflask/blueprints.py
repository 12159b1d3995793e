"""The public `Blueprint`: that of `sansio.blueprints`, with commands and files."""

from __future__ import annotations

import os
import typing as t
from datetime import timedelta

from .commands import AppGroup
from .ctx import current_app_ctx
from .helpers import send_from_directory
from .sansio.blueprints import Blueprint as SansioBlueprint
from .sansio.blueprints import BlueprintSetupState as BlueprintSetupState
from .wrappers import Response


class Blueprint(SansioBlueprint):
    """A set of routes, hooks, templates, files and commands. The parameters are those of
    `sansio.blueprints.Blueprint`."""

    command_group_class = AppGroup

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """The `max_age`, in seconds, of a static file: the config's
        `SEND_FILE_MAX_AGE_DEFAULT`. `None`: the browser asks each time."""
        value = current_app_ctx().app.config["SEND_FILE_MAX_AGE_DEFAULT"]
        return int(value.total_seconds()) if isinstance(value, timedelta) else value

    def send_static_file(self, filename: str) -> Response:
        """The view of the static files.

        :raises RuntimeError: without a `static_folder`.
        """
        if self.static_folder is None:
            raise RuntimeError(
                f"The blueprint '{self.name}' has no static folder. Pass 'static_folder=' to"
                " serve files from it."
            )
        # `send_from_directory` would ask the app.
        max_age = self.get_send_file_max_age(filename)
        return send_from_directory(self.static_folder, filename, max_age=max_age)

    def open_resource(
        self, resource: str, mode: str = "rb", encoding: str | None = "utf-8"
    ) -> t.IO[t.Any]:
        """Open a file that belongs to the blueprint.

        :param resource: its path, relative to `root_path`.
        :param mode: `"rb"`, or `"r"` or `"rt"` for text.
        :param encoding: of text. Default: UTF-8.
        :raises ValueError: for other modes.
        """
        if mode not in {"r", "rt", "rb"}:
            raise ValueError(
                f"Resources are read-only: 'mode' is 'rb', 'r' or 'rt', not {mode!r}."
            )
        path = os.path.join(self.root_path, resource)
        return open(path, mode, encoding=None if mode == "rb" else encoding)
