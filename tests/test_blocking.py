"""Finding the call in a stack, and the advice for it. With a blocked loop:
`test_loop_guard.py`."""

from __future__ import annotations

import json
import sys

from asyncflask.blocking import Call, Line, advice, call_in, line_of


def test_a_call_that_has_just_returned_is_seen_in_the_call_around_it() -> None:
    """Code that holds the interpreter cannot be seen before that."""
    seen: list[tuple[Call, Line]] = []

    def now(text: str) -> str:
        frame = sys._getframe(1)
        line = line_of(frame)
        seen.append((call_in([frame], 0, line), line))
        return text

    now(json.dumps([1]))
    call, line = seen[0]
    assert line.file == __file__
    assert call.source == "now(json.dumps([1]))"
    assert call.names[-1] == "json.dumps"
    assert advice(call, busy=True).startswith("A thread does not help")
