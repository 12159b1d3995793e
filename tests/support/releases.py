"""The installed releases of other packages. Tests also run with the oldest supported ones."""

from __future__ import annotations

from importlib.metadata import version


def older(package: str, *release: int) -> bool:
    """Return `True` if *package* is older than *release*."""
    return (
        tuple(int(part) for part in version(package).split(".")[:3] if part.isdecimal()) < release
    )
