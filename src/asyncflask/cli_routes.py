"""The command `asyncflask routes`: a table of the routes and mounted apps."""

from __future__ import annotations

import typing as t
from operator import itemgetter

import click
from werkzeug.routing import Rule

from .commands import with_appcontext
from .ctx import current_app_ctx

if t.TYPE_CHECKING:
    from starlette.routing import Mount


@click.command("routes", short_help="List the routes of the app.")
@click.option(
    "--sort",
    "-s",
    type=click.Choice(("endpoint", "methods", "domain", "rule", "match")),
    default="endpoint",
    help="The column to sort by; 'match' is the order in which rules are tried.",
)
@click.option("--all-methods", is_flag=True, help="Include HEAD and OPTIONS.")
@with_appcontext
def routes_command(sort: str, all_methods: bool) -> None:
    """List the routes (endpoint, methods, rule) and mounted apps."""
    app = current_app_ctx().app
    host_matching = app.url_map.host_matching
    mounts: tuple[Mount, ...] = tuple(getattr(app, "_mounts", ()))
    rows = [
        *(_mount_row(mount) for mount in mounts if mount.path),
        *(_rule_row(rule, host_matching, all_methods) for rule in app.url_map.iter_rules()),
        *(_mount_row(mount) for mount in mounts if not mount.path),  # asked after the routes
    ]
    if not rows:
        click.echo("No routes were registered.")
        return

    if sort in _COLUMNS:
        rows.sort(key=itemgetter(_COLUMNS.index(sort)))
    headers = ("Endpoint", "Methods", "Host" if host_matching else "Subdomain", "Rule")
    columns = list(zip(headers, *rows, strict=True))
    if not any(columns[_COLUMNS.index("domain")][1:]):
        del columns[_COLUMNS.index("domain")]
    widths = [max(map(len, column)) for column in columns]
    header, *lines = zip(*columns, strict=True)
    for line in (header, ["-" * width for width in widths], *lines):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


_COLUMNS: t.Final = ("endpoint", "methods", "domain", "rule")


_AUTOMATIC: t.Final = {"HEAD", "OPTIONS"}


def _rule_row(rule: Rule, host_matching: bool, all_methods: bool) -> tuple[str, str, str, str]:
    if rule.websocket:
        methods = "WEBSOCKET"
    else:
        shown = (rule.methods or set()) - (set() if all_methods else _AUTOMATIC)
        methods = ", ".join(sorted(shown))
    domain = rule.host if host_matching else rule.subdomain
    return str(rule.endpoint), methods, domain or "", rule.rule


def _mount_row(mount: Mount) -> tuple[str, str, str, str]:
    return mount.name or type(mount.app).__name__, "MOUNT", "", f"{mount.path}/..."
