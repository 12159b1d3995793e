"""The skill for coding agents in the wheel: its Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import asyncflask

SKILL = Path(asyncflask.__file__).parent / ".agents" / "skills" / "asyncflask" / "SKILL.md"


def test_python_runs() -> None:
    text = SKILL.read_text("utf-8")
    module = ModuleType("skill")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, vars(module))


def test_front_matter() -> None:
    lines = SKILL.read_text("utf-8").splitlines()
    assert lines[:2] == ["---", "name: asyncflask"]
    assert lines[2].startswith("description: ")
    assert lines[3] == "---"
