"""Processes to kill: the connector under a runtime as small as it can be, and a whole pipeline."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from estuary_cdk.capture.state import merged
from estuary_cdk.protocol import capture as messages

BIN = Path(sys.executable).parent
CONNECTOR, DESTINATION, RUNTIME = "source-postgres", "materialize-sqlite", "flow-local"
WAIT_S = 120.0


class SmallRuntime:
    """What was committed, over any number of connectors, each a process.

    It keeps documents since the last checkpoint apart, commits them with the checkpoint's state,
    and acknowledges. `documents` has those of each binding.
    """

    def __init__(self, built: messages.CaptureSpec) -> None:
        self._built = built
        self.state: dict[str, Any] = {}
        self.documents: list[list[bytes]] = [[] for _ in built.bindings]

    def active(self, state_key: str) -> bool:
        """Tell whether a binding's table is past its backfill."""
        bindings = self.state.get("bindingStateV1", {})
        return bool(bindings.get(state_key, {}).get("mode") == "Active")

    def run(
        self,
        lifetime_s: float | None = None,
        *,
        meanwhile: Callable[[], object] = bool,
        meanwhile_s: float = 0.0,
        commits_max: float = math.inf,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a connector, and kill it after a while; without one, until it has caught up.

        `meanwhile` is called once, after its time. Checkpoints beyond `commits_max` are read, but
        neither committed nor acknowledged. Returns the exit status.
        """
        opening = msgspec.json.encode(
            {
                "open": {
                    "capture": spelled(self._built),
                    "version": "1",
                    "range": {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1},
                    "state": self.state,
                }
            }
        )
        ending = {} if lifetime_s else {"SHUTDOWN_AFTER_POLLING": "yes"}
        with subprocess.Popen(
            [BIN / CONNECTOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if lifetime_s is None else subprocess.DEVNULL,
            env={**os.environ, **ending, **(environment or {})},
        ) as process:
            killing = threading.Timer(lifetime_s or WAIT_S, process.kill)
            disturbing = threading.Timer(meanwhile_s, meanwhile)
            try:
                assert process.stdin
                assert process.stdout
                process.stdin.write(opening + b"\n")
                process.stdin.flush()
                # What is of interest begins with the first answer, not with the start of Python.
                process.stdout.readline()
                killing.start()
                disturbing.start()
                self._take(process, commits_max)
            finally:
                disturbing.cancel()
                _, said = process.communicate()
                killing.cancel()
        if lifetime_s is None and not environment:
            assert process.returncode == 0, said.decode()[-2000:]
        return process.returncode

    def _take(self, process: "subprocess.Popen[bytes]", commits_max: float) -> None:
        pending: list[tuple[int, bytes]] = []
        assert process.stdin
        assert process.stdout
        for line in process.stdout:
            if not line.endswith(b"\n"):
                return
            message = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            if "captured" in message:
                captured = msgspec.json.decode(message["captured"], type=dict[str, msgspec.Raw])
                binding = int(bytes(captured.get("binding", msgspec.Raw(b"0"))))
                pending.append((binding, bytes(captured["doc"])))
            elif "checkpoint" in message and (commits_max := commits_max - 1) >= 0:
                checkpoint = msgspec.json.decode(message["checkpoint"])
                for binding, document in pending:
                    self.documents[binding].append(document)
                pending = []
                self.state = merged(self.state, checkpoint["state"]["updated"])
                with suppress(OSError):
                    process.stdin.write(b'{"acknowledge":{"checkpoints":1}}\n')
                    process.stdin.flush()


def spelled(built: messages.CaptureSpec) -> dict[str, Any]:
    """Return a capture as Open has it."""
    return {
        "name": built.name,
        "connectorType": "LOCAL",
        "config": built.config,
        "bindings": [
            {
                "resourceConfig": binding.resource_config,
                "resourcePath": binding.resource_path,
                "stateKey": binding.state_key,
                "collection": {
                    "name": binding.collection.name,
                    "writeSchema": binding.collection.write_schema,
                    "key": binding.collection.key,
                },
            }
            for binding in built.bindings
            if binding.collection is not None
        ],
    }


class Pipeline:
    """flow-local with source-postgres and materialize-sqlite, in a directory of its own."""

    def __init__(self, directory: Path, built: messages.CaptureSpec) -> None:
        self._directory = directory
        self._database = directory / "out.db"
        self._log = directory / "log.jsonl"
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "flow.yaml").write_bytes(msgspec.json.encode(self._catalog(built)))

    def _catalog(self, built: messages.CaptureSpec) -> dict[str, Any]:
        local = {"command": [CONNECTOR], "config": built.config}
        captured, collections, stored = [], {}, []
        for binding in built.bindings:
            assert binding.collection is not None
            name, table = binding.collection.name, binding.resource_path[-1]
            captured.append({"resource": binding.resource_config, "target": name})
            collections[name] = {
                "schema": binding.collection.write_schema,
                "key": binding.collection.key,
            }
            stored.append({"source": name, "resource": {"table": table}})
        config = {"path": str(self._database), "hardDelete": True}
        destination = {"local": {"command": [DESTINATION], "config": config}}
        return {
            "captures": {"acme/capture": {"endpoint": {"local": local}, "bindings": captured}},
            "collections": collections,
            "materializations": {"acme/out": {"endpoint": destination, "bindings": stored}},
        }

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)

    def _command(self, *more: str) -> list[str]:
        source = str(self._directory / "flow.yaml")
        return [str(BIN / RUNTIME), "run", "--source", source, "--log-level", "warn", *more]

    def kill(self, name: str) -> bool:
        """Kill -9 a process of a role; False where there is none."""
        assert self._process is not None
        with suppress(psutil.Error):
            root = psutil.Process(self._process.pid)
            if name == RUNTIME:
                root.kill()
                self._process.wait()
                return True
            for child in root.children(recursive=True):
                if any(Path(word).name == name for word in child.cmdline()[:3]):
                    child.kill()
                    return True
        return False

    def settle(self) -> None:
        """Stop as a user would, then run until everything is in the destination."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(WAIT_S)
        environment = {**os.environ, "SHUTDOWN_AFTER_POLLING": "yes"}
        with self._log.open("ab") as log:
            ended = subprocess.run(
                self._command("--until-idle"),
                stdout=log,
                stderr=log,
                env=environment,
                timeout=WAIT_S,
                check=False,
            )
        assert ended.returncode == 0, self.said()

    def end(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self.kill(RUNTIME)

    def said(self) -> str:
        """Return the end of what the processes logged."""
        return self._log.read_text()[-3000:]

    def rows(self, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return a table's rows; none where there is no table."""
        with closing(sqlite3.connect(self._database, timeout=30)) as database:
            there = "select 1 from sqlite_master where name = ?"
            if database.execute(there, [table]).fetchone() is None:
                return []
            return database.execute(f"select {', '.join(columns)} from {table}").fetchall()
