"""Packages from npm, so that no other project's code is kept in this repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

VERSION: Final = "4"
SECONDS: Final = 120
TRIES: Final = 2


def install_client(folder: Path) -> Path:
    """Install `socket.io-client` into *folder*, and give its ``node_modules``."""
    return install(folder, f"socket.io-client@{VERSION}")


def install(folder: Path, *packages: str) -> Path:
    """Install *packages* into *folder*, and give its ``node_modules``. Skips the test where that
    cannot be done, and says why."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node or npm is missing: apt install nodejs npm")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]
    command += [str(folder), *packages]
    problem = ""
    for _ in range(TRIES):  # the network may stall
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        except subprocess.TimeoutExpired as error:
            problem = str(error)
        except subprocess.CalledProcessError as error:
            problem = error.stderr
        else:
            return folder / "node_modules"
    pytest.skip(f"npm cannot install {', '.join(packages)}: {problem}")
