"""Whatever is killed, and whenever: what was committed adds up to the table.

The connector is a process of its own. The runtime is as small as it can be: it keeps documents
since the last checkpoint apart, commits them with the checkpoint's state, and acknowledges.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from estuary_cdk.capture.state import merged

CONNECTOR = Path(sys.executable).with_name("source-postgres")
ROUNDS = 6
ROWS = 3000
LONG = 3000


class Writer:
    """Changes rows at random, in transactions of any size, some of them rolled back."""

    def __init__(self, conninfo: str, database: str, seed: int) -> None:
        self._chance = random.Random(seed)
        self._connect = lambda: psycopg.connect(conninfo, dbname=database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.error: Exception | None = None

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._connect() as connection:
                while not self._stop.wait(self._chance.random() * 0.01):
                    self._transaction(connection)
        except psycopg.Error as error:
            self.error = error

    def _transaction(self, connection: psycopg.Connection[Any]) -> None:
        chance = self._chance
        for _ in range(chance.choice([1, 1, 1, 5, 40])):
            row = chance.randrange(ROWS * 2)
            connection.execute(
                chance.choice(
                    [
                        b"insert into t values (%(id)s, %(v)s, repeat(%(c)s, 3000)) "
                        b"on conflict do nothing",
                        b"update t set v = %(v)s where id = %(id)s",
                        b"update t set v = %(v)s, long = repeat(%(c)s, 3000) where id = %(id)s",
                        b"delete from t where id = %(id)s",
                        b"update t set id = %(to)s where id = %(id)s "
                        b"and not exists (select from t where id = %(to)s)",
                    ]
                ),
                {"id": row, "v": chance.randrange(10**9), "c": chance.choice("abc"),
                 "to": chance.randrange(ROWS * 2)},
            )  # fmt: skip
        if chance.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()


class SmallRuntime:
    """What was committed, over any number of connectors."""

    def __init__(self, built: Any) -> None:
        self.built = built
        self.state: dict[str, Any] = {}
        self.documents: list[tuple[int, bytes]] = []

    def run(self, lifetime_s: float | None, chance: random.Random, disturb: Any) -> int | None:
        """Run a connector, and kill it after a while; without one, until it has caught up."""
        environment = {**os.environ, "SHUTDOWN_AFTER_POLLING": "" if lifetime_s else "yes"}
        opening = {
            "open": {
                "capture": self.built,
                "version": "1",
                "range": {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1},
                "state": self.state,
            }
        }
        process = subprocess.Popen(
            [CONNECTOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if lifetime_s is None else subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        killing = threading.Timer(lifetime_s or 60, process.send_signal, [signal.SIGKILL])
        disturbing = threading.Timer((lifetime_s or 60) * chance.random(), disturb)
        try:
            assert process.stdin
            process.stdin.write(msgspec.json.encode(opening) + b"\n")
            process.stdin.flush()
            # What is of interest begins with the first answer, not with the start of Python.
            assert process.stdout
            process.stdout.readline()
            killing.start()
            disturbing.start()
            self._take(process)
        finally:
            killing.cancel()
            disturbing.cancel()
            said = process.communicate()[1]
        if lifetime_s is None:
            assert process.returncode == 0, said.decode()[-2000:]
        return process.returncode

    def _take(self, process: "subprocess.Popen[bytes]") -> None:
        pending: list[tuple[int, bytes]] = []
        assert process.stdin
        assert process.stdout
        for line in process.stdout:
            if not line.endswith(b"\n"):
                return
            message = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            if "captured" in message:
                captured = msgspec.json.decode(message["captured"], type=dict[str, msgspec.Raw])
                pending.append((0, bytes(captured["doc"])))
            elif "checkpoint" in message:
                checkpoint = msgspec.json.decode(message["checkpoint"])
                self.documents += pending
                pending = []
                self.state = merged(self.state, checkpoint["state"]["updated"])
                with suppress(OSError):
                    process.stdin.write(b'{"acknowledge":{"checkpoints":1}}\n')
                    process.stdin.flush()


def folded(documents, built) -> dict[Any, dict]:
    """Merge documents by key, as the discovered schema's reduction does."""
    rows: dict[Any, dict] = {}
    for _, raw in documents:
        document = msgspec.json.decode(raw)
        key = document["id"]
        if document.pop("_meta")["op"] == "d":
            rows.pop(key, None)
        else:
            rows[key] = rows.get(key, {}) | document
    return rows


@pytest.mark.crash
@pytest.mark.parametrize(
    ("mode", "identity"),
    [("Precise", "default"), ("Normal", "default"), ("Precise", "full"), ("Normal", "full")],
)
async def test_whatever_is_killed_the_collection_equals_the_table(source, mode, identity):
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    source.run(
        "create table t (id int primary key, v bigint, long text)",
        "alter table t alter column long set storage external",
        f"alter table t replica identity {identity}",
        f"insert into t select i * 2, i, repeat('z', {LONG}) from generate_series(1, {ROWS}) i",
    )
    built = await source.runtime.build(source.config)
    [binding] = built.bindings
    resource = msgspec.json.decode(binding.resource_config) | {"mode": mode}
    binding = msgspec.structs.replace(
        binding, resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    built = msgspec.structs.replace(built, bindings=[binding])
    spec = {
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
        ],
    }
    runtime = SmallRuntime(spec)

    def disturb() -> None:
        with source.cluster_connection() as connection:
            connection.execute(
                b"select pg_terminate_backend(active_pid) from pg_replication_slots "
                b"where slot_name = %s and active",
                [f"slot_{source.name}"],
            )

    with Writer(source.cluster.conninfo, source.name, seed) as writer:
        for _ in range(ROUNDS):
            runtime.run(0.1 + 1.5 * chance.random(), chance, disturb)
    assert writer.error is None, writer.error
    runtime.run(None, chance, lambda: None)
    want = {row[0]: row for row in source.run("select id, v, long from t")}
    got = folded(runtime.documents, built)
    wrong = {
        key: (got.get(key, {}).get("v"), want.get(key, (None, None))[1])
        for key in got.keys() | want.keys()
        if key not in got
        or key not in want
        or (got[key]["v"], got[key].get("long")) != (want[key][1], want[key][2])
    }
    assert not wrong, f"seed {seed}: {len(wrong)} rows differ, such as {list(wrong.items())[:5]}"
