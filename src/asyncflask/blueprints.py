"""The public `Blueprint`: the one in `sansio.blueprints`, with commands and files."""

from __future__ import annotations

import os
import typing as t
from datetime import timedelta

from .ctx import current_app_ctx
from .helpers import send_from_directory
from .sansio.blueprints import Blueprint as SansioBlueprint
from .sansio.blueprints import BlueprintSetupState as BlueprintSetupState
from .wrappers import Response

if t.TYPE_CHECKING:
    from .commands import AppGroup


class _CommandGroupClass:
    """`AppGroup`, imported with Click if there are commands."""

    def __get__(self, blueprint: object, owner: type) -> type[AppGroup]:
        from .commands import AppGroup

        return AppGroup


class Blueprint(SansioBlueprint):
    """A collection of routes, hooks, error handlers, templates, static files and commands. It has
    no effect until you register it on an app::

        shop = Blueprint("shop", __name__, url_prefix="/shop")

        @shop.get("/")
        async def index():
            return await render_template_async("shop/index.html")

        app.register_blueprint(shop)

    :param name: the prefix of its endpoints. Must not be empty or contain a dot.
    :param import_name: the module or package of the blueprint; usually `__name__`.
    :param static_folder: a folder of static files, relative to `root_path`. Without a
        `url_prefix`, the app's static route takes precedence.
    :param static_url_path: the URL prefix of the static files. Default: the name of the folder.
    :param template_folder: a folder of templates, relative to `root_path`. The app's templates of
        the same name take precedence.
    :param url_prefix: a prefix for all of its URLs.
    :param subdomain: a subdomain for all of its URLs.
    :param url_defaults: default values for the variables of its URLs.
    :param root_path: the directory that relative paths start from. Default: the directory of
        `import_name`.
    :param cli_group: the group that contains its commands. Default: the blueprint's name. `None`
        adds the commands to the app's.
    :raises ValueError: if the name is empty or contains a dot.
    """

    command_group_class = _CommandGroupClass()

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """Return the seconds for which browsers may cache a static file: the app's
        `SEND_FILE_MAX_AGE_DEFAULT` setting. `None`: they ask each time. Override it to decide by
        *filename*."""
        value = current_app_ctx().app.config["SEND_FILE_MAX_AGE_DEFAULT"]
        return int(value.total_seconds()) if isinstance(value, timedelta) else value

    def send_static_file(self, filename: str) -> Response:
        """The view of the blueprint's static files.

        :raises RuntimeError: if the blueprint has no `static_folder`.
        :raises werkzeug.exceptions.NotFound: if *filename* is not in it.
        """
        if self.static_folder is None:
            raise RuntimeError(
                f"The blueprint '{self.name}' has no static folder. Pass 'static_folder=' to"
                " serve files from it."
            )
        # `send_from_directory` would use the app's max age.
        max_age = self.get_send_file_max_age(filename)
        return send_from_directory(self.static_folder, filename, max_age=max_age)

    def open_resource(
        self, resource: str, mode: str = "rb", encoding: str | None = "utf-8"
    ) -> t.IO[t.Any]:
        """Open a file relative to the blueprint's `root_path`, for reading.

        :param mode: `"rb"` (default), or `"r"` or `"rt"` for text.
        :param encoding: the encoding of text. Default: UTF-8.
        :raises ValueError: for any other mode.
        """
        if mode not in {"r", "rt", "rb"}:
            raise ValueError(
                f"Resources are read-only: 'mode' must be 'rb', 'r' or 'rt', not {mode!r}."
            )
        path = os.path.join(self.root_path, resource)
        return open(path, mode, encoding=None if mode == "rb" else encoding)
