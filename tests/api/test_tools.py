"""The documents used by other tools: generated clients call the served app, schemathesis looks
for undocumented responses, and AsyncAPI's own schema validates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from socketio_apps.npm import install
from support.servers import Process, python_path

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
SECONDS = 300


@pytest.fixture(scope="module")
def site() -> Iterator[Process]:
    command = [sys.executable, "-m", "uvicorn", "notes_site:app", "--port", "{port}"]
    with Process(command, env=python_path(HERE / "site")) as server:
        yield server


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(
        tmp_path_factory.mktemp("npm"),
        "openapi-typescript@7",
        "openapi-fetch@0",
        "typescript@5",
        "@asyncapi/specs@6",
    )


def run(command: list[str], cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PYTHON_CLIENT = """
import sys
from notes_client import AuthenticatedClient, Client
from notes_client.api.default import add_note, list_notes, one_note, remove_note
from notes_client.api.more import more_things_get
from notes_client.models import NewNote

client = Client(base_url=sys.argv[1])
note = add_note.sync(client=client, body=NewNote(text="Bread", tags=["shop"]))
assert (note.text, note.colour.value, note.tags) == ("Bread", "red", ["shop"])
assert note in list_notes.sync(client=client, limit=100)
refused = list_notes.sync(client=client, limit=0)
assert refused.errors[0].pointer == "#/limit"
missing = one_note.sync(id=10_000, client=client)
assert (missing.status, missing.detail) == (404, "There is no such note.")
assert remove_note.sync_detailed(id=note.id, client=client).status_code == 401
with_token = AuthenticatedClient(base_url=sys.argv[1], token="secret")
assert remove_note.sync_detailed(id=note.id, client=with_token).status_code == 204
assert more_things_get.sync(client=client, tags=[1, 2]) == [1, 2]
print("done")
"""


def test_client_in_python(site: Process, tmp_path: Path) -> None:
    """`openapi-python-client`."""
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    url = f"{site.url}/openapi.json"
    command = [str(BIN / "openapi-python-client"), "generate", "--url", url, "--meta", "none"]
    run([*command, "--config", "config.yml", "--output-path", "notes_client"], tmp_path)
    (tmp_path / "use.py").write_text(PYTHON_CLIENT)
    assert run([sys.executable, "use.py", site.url], tmp_path) == "done\n"


CLIENT = """
import createClient from "openapi-fetch";
import type { paths } from "./schema";

const client = createClient<paths>({ baseUrl: process.argv[2] });

async function main() {
  const added = await client.POST("/notes", { body: { text: "Tea", colour: "blue", tags: [] } });
  const id: number = added.data!.id;
  const listed = await client.GET("/notes", { params: { query: { colour: "blue" } } });
  const texts: string[] = listed.data!.map((note) => note.text);
  const refused = await client.GET("/notes", { params: { query: { limit: 0 } } });
  const pointer: string = refused.error!.errors![0].pointer;
  const one = await client.GET("/notes/{id}", { params: { path: { id } } });
  console.log(JSON.stringify([texts, pointer, one.data!.colour]));
}

main();
"""


def test_client_in_typescript(site: Process, node_modules: Path) -> None:
    """`openapi-typescript` and `openapi-fetch`: what does not fit the types does not compile."""
    folder, bin = node_modules.parent, node_modules / ".bin"
    run([str(bin / "openapi-typescript"), f"{site.url}/openapi.json", "-o", "schema.ts"], folder)
    (folder / "client.ts").write_text(CLIENT)
    options = ["--strict", "--skipLibCheck", "--module", "commonjs", "--moduleResolution", "node"]
    options += ["--target", "es2022", "--lib", "es2022,dom"]
    (folder / "node.d.ts").write_text("declare const process: { argv: string[] };\n")
    run([str(bin / "tsc"), *options, "client.ts", "node.d.ts"], folder)
    printed = run(["node", "client.js", site.url], folder)
    assert json.loads(printed) == [["Tea"], "#/limit", "blue"]


def test_schemathesis_finds_nothing(site: Process, tmp_path: Path) -> None:
    command = [str(BIN / "schemathesis"), "run", f"{site.url}/openapi.json", "--no-color"]
    command += ["--header", "Authorization: Bearer secret", "--max-examples", "20", "--seed", "1"]
    assert "No issues found" in run(command, tmp_path)


def test_asyncapi_document_is_valid(site: Process, node_modules: Path) -> None:
    schema = node_modules / "@asyncapi/specs/schemas/3.0.0-without-$id.json"
    document = httpx.get(f"{site.url}/asyncapi.json", timeout=SECONDS).json()
    assert document["channels"].keys() == {"export", "ticks", "feed"}
    validator = Draft7Validator(json.loads(schema.read_text()))
    assert [error.message for error in validator.iter_errors(document)] == []
