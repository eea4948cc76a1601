"""A materialization connector for tests: tables in a SQLite file, committed with the checkpoint.

It trusts nothing: a store whose `exists` isn't true to the table fails, and so does a delete of
what isn't there. Config: `path`, `trace`, `remote` (give the checkpoint back at open; else it is
staged as post-commit work: stores are applied at acknowledge), `no_optimization`, `apply_states`
(updates that Apply returns, one after the other, as far as the state doesn't show them),
`reject` (exit at this many stores), `commit_when` (commit once there is such a file), `stray` (load
a document that wasn't asked for).
"""

import sqlite3
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Raw

decode = msgspec.json.Decoder(dict[str, Raw]).decode


def value(raw, default=None):
    return default if raw is None else msgspec.json.decode(raw)


def say(**message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def fail(text) -> None:
    print(msgspec.json.encode({"level": "error", "message": text}).decode(), file=sys.stderr)
    sys.exit(1)


class Session:
    def __init__(self, config) -> None:
        self.config = config
        self.loads: list = []
        self.stores = 0
        self.db = sqlite3.connect(config["path"], isolation_level=None)
        self.db.executescript(
            "CREATE TABLE IF NOT EXISTS docs (binding, key BLOB, doc BLOB, n, PRIMARY KEY (binding,"
            " key)); CREATE TABLE IF NOT EXISTS checkpoint (one PRIMARY KEY, text BLOB);"
        )

    def trace(self, kind, body) -> None:
        if self.config.get("trace"):
            with Path(self.config["trace"]).open("ab") as file:
                file.write(msgspec.json.encode({kind: body}) + b"\n")

    def open(self, body) -> None:
        opened = {"disableLoadOptimization": bool(self.config.get("no_optimization"))}
        row = self.db.execute("SELECT text FROM checkpoint").fetchone()
        if self.config.get("remote"):
            opened["runtimeCheckpoint"] = Raw(row[0] if row else b"{}")
        say(opened=opened)

    def acknowledge(self, body) -> None:
        say(acknowledged={})

    def load(self, body) -> None:
        self.loads.append((value(body.get("binding"), 0), bytes(body["key"])))

    def flush(self, body) -> None:
        for binding, key in self.loads:
            row = self.db.execute(
                "SELECT doc FROM docs WHERE binding = ? AND key = ?", (binding, key)
            ).fetchone()
            if row:
                say(loaded={"binding": binding, "doc": Raw(row[0])})
        if self.config.get("stray"):
            say(loaded={"doc": {"id": 987654}})
        self.loads.clear()
        say(flushed={})
        self.db.execute("BEGIN IMMEDIATE")

    def store(self, body) -> None:
        self.stores += 1
        if self.config.get("reject") == self.stores:
            fail("disk is full")
        binding, key = value(body.get("binding"), 0), bytes(body["key"])
        values = value(body["values"])
        found = self.db.execute(
            "SELECT 1 FROM docs WHERE binding = ? AND key = ?", (binding, key)
        ).fetchone()
        exists, delete = value(body.get("exists"), False), value(body.get("delete"), False)
        if not self.config.get("delta") and bool(found) != exists:
            fail(f"key {key!r}: exists is {exists}, but the table says {bool(found)}")
        if delete:
            self.db.execute("DELETE FROM docs WHERE binding = ? AND key = ?", (binding, key))
            return
        document = bytes(body.get("doc", Raw(b"")))
        self.db.execute(
            "INSERT OR REPLACE INTO docs VALUES (?, ?, ?, ?)",
            (binding, key, document, str(values)),
        )

    def startCommit(self, body) -> None:
        while "commit_when" in self.config and not Path(self.config["commit_when"]).exists():
            time.sleep(0.01)
        if self.config.get("die_before_commit"):
            fail("told to die")
        self.db.execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", (bytes(body["runtimeCheckpoint"]),)
        )
        self.db.execute("COMMIT")
        say(startedCommit={"state": {"updated": {"stores": self.stores}, "mergePatch": True}})


session = None
for line in sys.stdin.buffer:
    [(kind, raw)] = decode(line).items()
    body = decode(raw)
    if kind == "apply":
        config, state = value(decode(body["materialization"])["config"]), value(body.get("state"))
        wanted = [each for each in config.get("apply_states", []) if each.items() - state.items()]
        update = {"state": {"updated": wanted[0], "mergePatch": True}} if wanted else {}
        say(applied={"actionDescription": "created tables", **update})
        continue
    if kind == "open":
        config = value(decode(body["materialization"])["config"])
        session = Session(config)
    session.trace(kind, body)
    getattr(session, kind)(body)
