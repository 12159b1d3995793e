"""Print constraints for pip: the lowest release of each dependency that pyproject.toml admits."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

TOOLS = {"bench", "dev", "docs"}
"""Extras that are for work on asyncflask itself: their bounds concern nobody else."""


def main() -> None:
    file = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(file.read_text())["project"]
    extras = project["optional-dependencies"]
    texts = list(project["dependencies"])
    for name in extras.keys() - TOOLS:
        texts += extras[name]
    for requirement in sorted(map(Requirement, texts), key=lambda each: each.name):
        lowest = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        if len(lowest) != 1:
            sys.exit(f"{file.name}: {requirement} has no lower bound, such as >=1.0.")
        print(f"{requirement.name}=={lowest[0]}")


if __name__ == "__main__":
    main()
