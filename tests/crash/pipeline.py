"""A pipeline to kill: a file that keeps changing, served over HTTP, captured, and materialized.

    table file ──HTTP──▶ source-http ──▶ flow-local ──▶ materialize-sqlite ──▶ SQLite

Everything but the file's server is a real process of its own, launched as users launch it.
"""

import csv
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from estuary_cdk.testing.patience import HANGS_S

BIN = Path(sys.executable).parent
SOURCE, DESTINATION, RUNTIME = "source-http", "materialize-sqlite", "flow-local"
WAIT_S = 300.0

CATALOG = """
collections:
  crash/rows:
    schema:
      type: object
      required: [id, _meta]
      properties:
        id: {{type: integer}}
        amount: {{type: integer}}
        text: {{type: [string, "null"]}}
        _meta:
          type: object
          required: [op]
          properties: {{op: {{type: string}}, file: {{type: string}}, offset: {{type: integer}}}}
      if:
        required: [_meta]
        properties: {{_meta: {{properties: {{op: {{const: d}}}}, required: [op]}}}}
      then: {{reduce: {{strategy: lastWriteWins, delete: true}}}}
      else: {{reduce: {{strategy: lastWriteWins}}}}
    key: [/id]
captures:
  crash/capture:
    shards: {{count: {captures}}}
    interval: 1s
    endpoint:
      local:
        command: [source-http]
        config:
          streams: [{streams}]
    bindings: [{bindings}]
materializations:
  crash/materialization:
    shards: {{count: {materializations}}}
    endpoint:
      local:
        command: [materialize-sqlite]
        config: {{path: "{database}", hardDelete: true}}
    bindings:
      - {{resource: {{table: rows}}, source: crash/rows}}
"""


@dataclass
class Table:
    """The truth: a table whose every version is a CSV file; rows come, change and go."""

    chance: random.Random
    rows: dict[int, tuple[int, str]] = field(default_factory=dict)
    version: int = 0

    def change(self, share: float = 0.1) -> None:
        """Make the next version: some rows change, some go, some come."""
        self.version += 1
        for key in self.chance.sample(sorted(self.rows), int(len(self.rows) * share)):
            if self.chance.random() < 0.3:
                del self.rows[key]
            else:
                self.rows[key] = (self.version, f'"said ""{key}"""')
        for _ in range(300):
            self.rows[self.chance.randrange(10**6)] = (self.version, "new")

    def csv(self, part: int = 0, parts: int = 1) -> bytes:
        """Return the file of the rows, or one of so many that have some of them each."""
        rows = [row for row in sorted(self.rows.items()) if row[0] % parts == part]
        lines = [f"{key},{amount},{text}" for key, (amount, text) in rows]
        return "\n".join(["id,amount,text", *lines, ""]).encode()

    def expected(self) -> list[tuple[int, int, str]]:
        """Return the rows a reader of the CSV finds."""
        read = csv.reader(self.csv().decode().splitlines())
        return [(int(key), int(amount), text) for key, amount, text in list(read)[1:]]


class FileServer:
    """Serves the table's current version, a little slowly, with an ETag."""

    def __init__(self, table: Table) -> None:
        self.table, self.lock = table, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                part, parts = map(int, self.path.removesuffix(".csv").split("-")[-2:])
                with outer.lock:
                    body, tag = outer.table.csv(part, parts), f'"v{outer.table.version}"'
                fresh = self.headers.get("If-None-Match") == tag
                self.send_response(304 if fresh else 200)
                self.send_header("ETag", tag)
                self.send_header("Content-Type", "text/csv")
                self.send_header("Content-Length", "0" if fresh else str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    for start in range(0, 0 if fresh else len(body), 20_000):
                        self.wfile.write(body[start : start + 20_000])
                        time.sleep(0.01)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Pipeline:
    """The pipeline's processes; `directory` holds its catalog, its data and its database.

    The rows come in so many files, each of them a binding.
    """

    def __init__(self, directory: Path, url: str, files: int = 1) -> None:
        self.directory = directory
        self.database = directory / "out.db"
        self.catalog = directory / "flow.yaml"
        self.url, self.files = url, files
        self.write()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / "log.jsonl"

    def write(self, captures: int = 1, materializations: int = 1) -> None:
        """Write the catalog, with so many shards of its tasks."""
        names = range(self.files)
        streams = [
            f'{{name: rows{i}, url: "{self.url}/rows-{i}-{self.files}.csv", key: [/id]}}'
            for i in names
        ]
        bindings = [f"{{resource: {{stream: rows{i}}}, target: crash/rows}}" for i in names]
        self.catalog.write_text(
            CATALOG.format(
                streams=", ".join(streams),
                bindings=", ".join(bindings),
                database=self.database,
                captures=captures,
                materializations=materializations,
            )
        )

    def command(self, *more: str) -> list[str]:
        return [str(BIN / "flow-local"), "run", "--source", str(self.catalog), *more]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the live processes of one role."""
        if not self.alive() or self.process is None:
            return []
        with suppress(psutil.Error):
            root = psutil.Process(self.process.pid)
            if name == RUNTIME:
                return [root]
            found = []
            for child in root.children(recursive=True):
                with suppress(psutil.Error):
                    if any(Path(word).name == name for word in child.cmdline()[:3]):
                        found.append(child)
            return found
        return []

    def kill(self, name: str, age_s: float = 0.0) -> bool:
        """Kill -9 a process of one role once it is so old; False where there is none by then."""
        for process in self.processes(name):
            with suppress(psutil.Error):
                time.sleep(max(0.0, process.create_time() + age_s - time.time()))
                process.send_signal(signal.SIGKILL)
                if name == RUNTIME and self.process is not None:
                    self.process.wait()
                return True
        return False

    def settle(self) -> None:
        """Run until everything that was captured is in the destination."""
        self.stop()
        with self.log.open("ab") as log:
            done = subprocess.run(
                self.command("--until-idle"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=WAIT_S,
                check=False,
            )
        assert done.returncode == 0, self.said()

    def journals(self) -> dict[str, int]:
        """Return the size of every file of the collections."""
        files = (self.directory / ".flow-local/collections").rglob("*")
        return {str(p): p.stat().st_size for p in files if p.is_file()}

    def said(self) -> str:
        """Return the end of what the processes logged."""
        return self.log.read_text()[-3000:]

    def stop(self) -> None:
        """Stop as a user would, with Ctrl-C."""
        if self.alive() and self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=HANGS_S)

    def rows(self) -> list[tuple[int, int, str]]:
        with closing(sqlite3.connect(self.database)) as db:
            return db.execute("SELECT id, amount, text FROM rows ORDER BY id").fetchall()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seed() -> int:
    """Return the seed of this run: CRASH_SEED, or one of its own that a failure prints."""
    return int(os.environ.get("CRASH_SEED", random.SystemRandom().randrange(10**6)))
