"""A document's whole way, with the real connectors: what arrives is what was sent."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from estuary_cdk.testing.patience import HANGS_S

BIN = Path(sys.executable).parent
# Spellings that a parser would change on the way through a float, a 64-bit integer or a dict.
VALUES = [
    *("1.0", "1e3", "1E+3", "-0.0", "-0", "0.10", "1.7976931348623157e309", "5e-400"),
    *("9007199254740993", "18446744073709551616", "123456789012345678901234567890"),
    *(
        "-99999999999999999999999999.50",
        "0.1000000000000000055511151231257827021181583404541015625",
    ),
    *('"\\u00e9\\/\\ud83d\\ude00"', '"tab\\tnul\\u0000"', '"é😀"', "null", "true"),
    *('{"b":1.0,"a":[1e0,{"z":null}],"":{}}', "[]", "[[1.50]]"),
]

CATALOG = """
collections:
  acme/values:
    schema:
      type: object
      required: [id]
      properties: {{id: {{type: integer}}, value: {{}}}}
    key: [/id]
captures:
  acme/capture:
    endpoint:
      local:
        command: [source-http]
        config: {{streams: [{{name: values, url: "{url}", key: [/id]}}]}}
    bindings: [{{resource: {{stream: values}}, target: acme/values}}]
materializations:
  acme/materialization:
    endpoint:
      local: {{command: [materialize-sqlite], config: {{path: out.db}}}}
    bindings:
      - resource: {{table: "values"}}
        source: acme/values
        fields: {{recommended: true}}
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path):
    """Serve a directory on this machine; yields it and its address."""
    directory = tmp_path / "www"
    directory.mkdir()
    handler = partial(_Quiet, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield directory, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def flow_local(directory: Path, *words: str) -> str:
    done = subprocess.run(
        [BIN / "flow-local", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_spelling_of_a_value_survives_from_the_file_to_the_document_column(
    tmp_path, served
) -> None:
    directory, url = served
    lines = [f'{{"id":{n},"value":{value}}}' for n, value in enumerate(VALUES)]
    (directory / "values.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "flow.yaml").write_text(CATALOG.format(url=f"{url}/values.jsonl"))
    flow_local(tmp_path, "run", "--until-idle")
    with closing(sqlite3.connect(tmp_path / "out.db")) as db:
        rows = db.execute('SELECT id, flow_document FROM "values" ORDER BY id').fetchall()
    assert [key for key, _ in rows] == list(range(len(VALUES)))
    for (key, document), line in zip(rows, lines, strict=True):
        assert document.startswith('{"_meta":{"uuid":"'), document
        assert document.endswith("}," + line[1:]), VALUES[key]
    journaled = flow_local(tmp_path, "read", "acme/values").splitlines()
    assert sorted(journaled) == sorted(document for _, document in rows)


def test_a_materialization_that_was_reset_fills_its_tables_anew(tmp_path, served) -> None:
    directory, url = served
    (directory / "values.jsonl").write_text('{"id":1,"value":"a"}\n{"id":2,"value":"b"}\n')
    (tmp_path / "flow.yaml").write_text(CATALOG.format(url=f"{url}/values.jsonl"))
    flow_local(tmp_path, "run", "--until-idle")
    with closing(sqlite3.connect(tmp_path / "out.db")) as db:
        db.execute("UPDATE \"values\" SET value = 'spoilt'")
        db.commit()
    for _ in range(2):
        flow_local(tmp_path, "reset", "--yes", "acme/materialization")
        flow_local(tmp_path, "run", "--until-idle")
        with closing(sqlite3.connect(tmp_path / "out.db")) as db:
            assert db.execute('SELECT id, value FROM "values" ORDER BY id').fetchall() == [
                (1, '"a"'),
                (2, '"b"'),
            ]
