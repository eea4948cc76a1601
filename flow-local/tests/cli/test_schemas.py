"""Collections whose schema is inferred: how it is shown, and what follows when it widens."""

import contextlib
import csv
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from estuary_cdk.testing.patience import HANGS_S
from flow_local.cli.demo.server import served

DECLARED = """\
    schema:
      type: object
      properties:
        id: {type: integer}
        name: {type: string}
      required: [id]
"""
INFERRED = """\
    writeSchema: {type: object, properties: {id: {type: integer}}, required: [id]}
    readSchema:
      allOf: [{$ref: "flow://relaxed-write-schema"}, {$ref: "flow://inferred-schema"}]
"""
CHANGES = (
    (DECLARED, INFERRED),
    ("[PYTHON, TABLE]", "[PYTHON, -m, materialize_sqlite]"),
)
DISCOVERABLE = """\
captures:
  acme/source-http:
    endpoint:
      local:
        command: [PYTHON, -m, source_http]
        config: {streams: [{name: towns, url: "URL", key: [/town]}]}
    bindings: []
"""
WIDENING = """\
captures:
  acme/source-http:
    endpoint:
      local:
        command: [PYTHON, -m, source_http]
        config:
          streams:
            - {name: narrow, url: "URL/narrow.jsonl", key: [/id]}
            - {name: wide, url: "URL/wide.jsonl", key: [/id]}
    bindings:
      - {resource: {stream: narrow}, target: acme/events}
      - {resource: {stream: wide}, target: acme/events}
collections:
  acme/events:
    writeSchema: {type: object, properties: {id: {type: integer}}, required: [id]}
    readSchema:
      allOf: [{$ref: "flow://relaxed-write-schema"}, {$ref: "flow://inferred-schema"}]
    key: [/id]
materializations:
  acme/table:
    endpoint:
      local:
        command: [PYTHON, -m, materialize_sqlite]
        config: {path: OUT}
    bindings:
      - source: acme/events
        resource: {table: events}
"""
MATERIALIZED = """
materializations:
  acme/table:
    endpoint:
      local:
        command: [PYTHON, -m, materialize_sqlite]
        config: {path: OUT}
    bindings:
      - source: COLLECTION
        resource: {table: towns}
"""
WAIT_S = HANGS_S


class Feed:
    """Files on a server of this machine, whose bodies may be held back while others are sent."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.held: set[str] = set()
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(feed.files[self.path])))
                self.end_headers()
                while self.path in feed.held:
                    time.sleep(0.02)
                with contextlib.suppress(OSError):  # A client that has seen enough hangs up.
                    self.wfile.write(feed.files[self.path])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def hold(self, path: str) -> None:
        self.held.add(path)


@contextlib.contextmanager
def fed():
    """Serve a feed while the block runs."""
    feed = Feed()
    thread = threading.Thread(target=feed.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield feed
    finally:
        feed.held.clear()
        feed.server.shutdown()
        thread.join()
        feed.server.server_close()


class Town:
    """A project whose source reads lines of a file, into a table of a SQLite file."""

    def __init__(self, project) -> None:
        self.project = project
        self.source = project.path / "source.jsonl"
        self.source.touch()
        project.out = project.path / "out.db"

    def write(self, **config) -> None:
        self.project.write(*CHANGES, follow=str(self.source), **config)

    def publish(self, *documents: dict) -> None:
        with self.source.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in documents))

    def rows(self, columns: str) -> list[tuple]:
        connection = sqlite3.connect(self.project.out)
        try:
            return connection.execute(f"SELECT {columns} FROM events ORDER BY id").fetchall()
        finally:
            connection.close()

    def wait_for(self, columns: str, rows: list[tuple]) -> None:
        _wait_for(self.project.out, f"SELECT {columns} FROM events ORDER BY id", rows)


@pytest.fixture
def town(project) -> Town:
    return Town(project)


def test_a_schema_that_widens_from_run_to_run_migrates_the_table(town):
    town.write(once=True)
    town.publish({"id": 1, "n": 1})
    assert town.project.run("run", "--until-idle").code == 0
    town.publish({"id": 2, "n": 2, "extra": True}, {"id": 3, "n": "three"})
    ended = town.project.run("run", "--until-idle")
    assert ended.code == 0, ended.err
    # A column of several types holds JSON.
    assert town.rows("id, n, extra") == [(1, "1", None), (2, "2", 1), (3, '"three"', None)]


def test_a_schema_that_widens_while_the_tasks_run_loses_nothing(town):
    town.write()
    town.publish({"id": 1, "n": 1})
    # What is waited for by other tasks is captured first, until the source says no more.
    town.write(once=True)
    assert town.project.run("run", "--until-idle").code == 0
    town.write()
    with town.project.start("run") as process:
        try:
            town.publish({"id": 2, "n": 2, "extra": "two"})
            town.wait_for("id, n, extra", [(1, 1, None), (2, 2, "two")])
            town.publish(*({"id": i, "n": "text", f"x{i}": i} for i in range(3, 7)))
            rows = [(i, '"text"', str(i) if i == 6 else None) for i in range(3, 7)]
            columns = "id, CAST(n AS TEXT), CAST(x6 AS TEXT)"
            town.wait_for(columns, [(1, "1", None), (2, "2", None), *rows])
        finally:
            process.terminate()
            _, log = process.communicate()
    assert process.returncode == 0, log
    assert "task is built anew" in log


def test_a_discovered_collection_becomes_a_table_with_columns(project, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    with (files / "towns.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("town", "people"), ("Ulm", 129_000), ("Bonn", 336_000)])
    database = tmp_path / "out.db"
    flow = project.path / "flow.yaml"
    with served(files, 0) as port:
        url = f"http://127.0.0.1:{port}/towns.csv"
        flow.write_text(_catalog(DISCOVERABLE, URL=url))
        discovered = project.run("discover", "--write")
        assert discovered.code == 0, discovered.err
        written = _catalog(MATERIALIZED, OUT=database, COLLECTION="acme/towns")
        flow.write_text(flow.read_text() + written)
        ended = project.run("run", "--until-idle")
        assert ended.code == 0, ended.err
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT town, people FROM towns ORDER BY town").fetchall()
    connection.close()
    assert rows == [("Bonn", 336_000), ("Ulm", 129_000)]
    shown = project.run("schema", "acme/towns")
    people = msgspec.json.decode(shown.out)["properties"]["people"]
    assert people["type"] == "integer"


def test_a_schema_that_widens_within_one_run_until_idle_loses_nothing(project, tmp_path):
    rows = [(i, i) for i in range(1, 7)]
    narrow = [b'{"id":%d,"n":%d}\n' % row for row in rows]
    wide = b'{"id":7,"n":"two","extra":true}\n{"id":8}\n'
    database = tmp_path / "out.db"
    with fed() as feed:
        project.path.joinpath("flow.yaml").write_text(
            _catalog(WIDENING, URL=feed.url, OUT=database)
        )
        # Nothing is inferred yet, so this captures first and then materializes.
        feed.files = {"/narrow.jsonl": b"".join(narrow[:-1]), "/wide.jsonl": b""}
        assert project.run("run", "--until-idle").code == 0
        feed.files = {"/narrow.jsonl": b"".join(narrow), "/wide.jsonl": wide}
        feed.hold("/wide.jsonl")
        with project.start("run", "--until-idle") as process:
            try:
                _wait_for(database, "SELECT id, n FROM events ORDER BY id", rows)
                feed.held.clear()
                _, log = process.communicate(timeout=WAIT_S)
            finally:
                process.kill()
    assert process.returncode == 0, log
    assert log.count("task is built anew") == 1
    with contextlib.closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT id, n, extra FROM events ORDER BY id").fetchall()
    assert found == [*((i, str(n), None) for i, n in rows), (7, '"two"', 1), (8, None, None)]


def test_only_what_is_inferred_can_be_shown(used):
    used.write()
    known = used.run("schema", "acme/events")
    assert (known.code, known.sentence[:67]) == (
        2,
        "can't show what is inferred of collection 'acme/events': its reader",
    )
    assert used.run("schema", "acme/nothing").sentence == (
        "can't show what is inferred of collection 'acme/nothing': nothing was captured into it "
        "(nothing was inferred)"
    )


def _wait_for(database, query: str, rows: list[tuple]) -> None:
    found, deadline = None, time.monotonic() + WAIT_S
    while found != rows:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
        with contextlib.closing(sqlite3.connect(database)) as connection:
            try:
                found = connection.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                found = str(error)


def _catalog(text: str, **names: object) -> str:
    for name, value in {"PYTHON": sys.executable, **names}.items():
        text = text.replace(name, str(value))
    return text
