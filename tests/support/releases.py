"""Which releases of other packages are installed: the tests also run with the oldest ones."""

from __future__ import annotations

from importlib.metadata import version


def older(package: str, *release: int) -> bool:
    """Whether *package* is older than *release*."""
    return (
        tuple(int(part) for part in version(package).split(".")[:3] if part.isdecimal()) < release
    )
