"""Scout APM: it sets methods on the app, and reports to an agent on this machine."""

from __future__ import annotations

import json
import struct
from socketserver import StreamRequestHandler

import pytest
from collector import Report
from monitoring import BROKEN, ENDINGS, FOUND, watch


class Agent(StreamRequestHandler):
    """Takes messages of JSON, each after its length in four bytes, and answers each."""

    def handle(self):
        while header := self.rfile.read(4):
            (length,) = struct.unpack(">I", header)
            self.server.keep(Report("", self.rfile.read(length)))
            self.wfile.write(struct.pack(">I", 2) + b"{}")


@pytest.fixture(scope="module")
def watched():
    settings = {
        "SCOUT_MONITOR": "true",
        "SCOUT_NAME": "watched",
        "SCOUT_KEY": "key",
        "SCOUT_CORE_AGENT_LAUNCH": "false",
        "SCOUT_CORE_AGENT_DOWNLOAD": "false",
        "SCOUT_CORE_AGENT_SOCKET_PATH": "tcp://{collector}",
    }
    with watch("scout_apm_site", handler=Agent, **settings) as watched:
        yield watched


def requests(reports):
    """What there is of each request: its spans' operations and its tags."""
    found = []
    for report in reports:
        batch = json.loads(report.body).get("BatchCommand", {}).get("commands", ())
        spans = [command["StartSpan"]["operation"] for command in batch if "StartSpan" in command]
        tags = [command["TagRequest"] for command in batch if "TagRequest" in command]
        if spans:
            found.append((spans, {tag["tag"]: tag["value"] for tag in tags}))
    return found


def test_answers(watched):
    assert watched.statuses == {ending.path: ending.status for ending in ENDINGS}


@pytest.mark.parametrize("ending", FOUND, ids=str)  # it leaves out those without a route
def test_requests(watched, ending):
    found = watched.reported(requests, len(FOUND))
    ((spans, tags),) = (each for each in found if each[1]["path"] == ending.path)
    assert spans[0] == f"Controller/monitored.{ending.endpoint}"
    assert tags.get("error") == ("true" if ending in BROKEN else None)
