"""materialize-postgres against what its server can do: new rows, changed rows, rows read back.

    python bench/postgres_destination.py [--rows 1000000] [--changed 200000] [--runs 3]
                                         [--version 15] [--no-document]

On a private cluster, alternating: `COPY | COPY` of a table into one with a primary key, and the
same rows as `store` messages on the connector's stdin; then an update of some of them by the best
of six hand-written ways from a staged table, and by the connector. Ours includes the whole document
as a column beside the table's twelve, unless told otherwise. The first update of a table finds no
room in its pages; one that isn't measured goes before, by hand and by us, with a VACUUM after it.
Wall seconds without the connector's start, CPU seconds of tool and server, the tool's peak memory;
medians and ratios come last, as JSON.
"""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec
import psycopg
from postgres import EVENTS

from estuary_cdk.materialize.runner import serve
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.materialize_runtime import BindingModel, MaterializeRuntime
from estuary_cdk.testing.postgres import postgres
from estuary_cdk.testing.selection import collection, optional, required
from materialize_postgres import materialization

CONNECTOR = (sys.executable, "-m", "materialize_postgres")
ROWS_PER_TRANSACTION = 100_000
FIELDS = {
    "id": required("integer"),
    "qty": required("integer"),
    "price": required("string", format="number"),
    "title": required("string"),
    "created_at": required("string", format="date-time"),
    "active": required("boolean"),
    "attrs": required("array", "boolean", "integer", "null", "number", "object", "string"),
    "uid": required("string", format="uuid"),
    "score": required("number"),
    "day": required("string", format="date"),
    "payload": required("string", content_encoding="base64"),
    "note": optional("string", "null"),
}
VALUE = {
    "price": "price::text",
    "created_at": "to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    "payload": "encode(payload, 'base64')",
    "_meta/op": "'c'",
}


class Endpoint:
    """A database, the built task for it, and processes that run it."""

    def __init__(self, cluster, database: str, *, document: bool) -> None:
        self.config = encode_json(
            {
                "address": cluster.address, "user": "postgres", "database": database,
                "credentials": {"auth_type": "UserPassword", "password": "none"},
            }
        )  # fmt: skip
        self.runtime = MaterializeRuntime(lambda *pair: serve(materialization, *pair))
        self.document = document

    def build(self) -> None:
        exclude = frozenset() if self.document else frozenset({"flow_document"})
        resource_config = encode_json({"table": "events", "delta_updates": not self.document})
        model = BindingModel(
            collection("bench/events", ["/id"], FIELDS), resource_config, exclude=exclude
        )
        self.spec = asyncio.run(self._built(model))

    async def _built(self, model):
        spec = await self.runtime.build(self.config, [model])
        await self.runtime.apply(spec)
        return spec

    @property
    def values(self) -> list[str]:
        return self.spec.bindings[0].field_selection.values

    @contextmanager
    def session(self):
        process = subprocess.Popen(CONNECTOR, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        spec = msgspec.Raw(msgspec.json.encode(self.spec))
        opening = {"open": {"materialization": spec, "version": "1",
                            "range": {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1}}}  # fmt: skip
        session = Session(process)
        session.say(opening, "opened")
        session.say({"acknowledge": {}}, "acknowledged")
        yield session
        status = Path(f"/proc/{process.pid}/status").read_text()
        [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        Session.peak_mb = int(peak) / 1024
        process.stdin.close()
        process.wait()


class Session:
    peak_mb = 0.0

    def __init__(self, process) -> None:
        self.process = process
        self.loaded = 0

    def say(self, message, answer: str) -> None:
        self.process.stdin.write(msgspec.json.encode(message) + b"\n")
        self.process.stdin.flush()
        prefix = b'{"%b"' % answer.encode()
        for line in self.process.stdout:
            if line.startswith(prefix):
                return
            self.loaded += 1
        raise SystemExit("the connector ended")

    def transaction(self, lines: bytes, loads: bytes = b"") -> None:
        if loads:
            self.process.stdin.write(loads)
        self.say({"flush": {}}, "flushed")
        self.process.stdin.write(lines)
        self.say({"startCommit": {"runtimeCheckpoint": {"n": 1}}}, "startedCommit")
        self.say({"acknowledge": {}}, "acknowledged")


def lines_query(values: list[str], where: str, *, document: bool, exists: bool) -> str:
    def value(name: str) -> str:
        return VALUE.get(name, name)

    array = ", ".join(map(value, values))
    pairs = ", ".join(f"'{name}', {value(name)}" for name in FIELDS)
    doc = f"', \"doc\":' || json_build_object({pairs})" if document else "''"
    flag = ',"exists":true' if exists else ""
    store = (
        f'select \'{{"store":{{"key":[\' || id || \'],"values":\' || json_build_array({array}) '
        f"|| {doc} || '{flag}}}}}' from bench.events where {where} order by id"
    )
    return f"copy ({store}) to stdout (format csv, quote E'\\x01')"


def written(cluster, query: str, path: Path) -> None:
    with psycopg.connect(cluster.conninfo) as db, path.open("wb") as out:
        for block in _copy_out(db, query):
            # What the server put around each line, a quote that never occurs inside, goes again.
            out.write(bytes(block).replace(b"\x01", b""))


def used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def served(cluster) -> float:
    """Return the CPU seconds of all sessions of a server that have ended."""
    time.sleep(0.3)
    pid = (cluster.directory / "data" / "postmaster.pid").read_text().split()[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def measured(cluster, act) -> dict:
    cpu, server = used(), served(cluster)
    started = time.perf_counter()
    act()
    wall = time.perf_counter() - started
    return {
        "wall_s": wall, "cpu_s": used() - cpu, "server_cpu_s": served(cluster) - server,
        "peak_mb": Session.peak_mb,
    }  # fmt: skip


def shown(took: dict) -> dict:
    return {name: round(value, 2) for name, value in took.items()}


def blocks(path: Path):
    """Yield the lines of a transaction at a time."""
    with path.open("rb") as file:
        while lines := b"".join(islice(file, ROWS_PER_TRANSACTION)):
            yield lines


def copied(cluster, source: str, destination: str) -> None:
    psql = [
        cluster.bin / "psql",
        "-qX",
        "-h",
        "127.0.0.1",
        "-p",
        str(cluster.port),
        "-U",
        "postgres",
    ]
    reading = subprocess.Popen(
        [*psql, "-d", source, "-c", "copy bench.events to stdout"], stdout=subprocess.PIPE
    )
    subprocess.run(
        [*psql, "-d", destination, "-c", "copy bench.events from stdin"],
        stdin=reading.stdout, check=True,
    )  # fmt: skip
    reading.wait()


def run_ours(cluster, endpoint: Endpoint, path: Path) -> dict:
    transactions = list(blocks(path))

    took = []

    def act() -> None:
        with endpoint.session() as session:
            started = time.perf_counter()
            for lines in transactions:
                session.transaction(lines)
            took.append(time.perf_counter() - started)

    # The start of a process isn't part of what it does per row.
    return measured(cluster, act) | {"wall_s": took[0]}


UPDATE = "update bench.events t set {} from staged s where t.id = s.id"
UPSERT = "insert into bench.events select * from staged on conflict (id) do update set {}"


MERGE = "merge into bench.events t using staged s on t.id = s.id when matched then update set {}"


def by_hand(cluster, database: str, every: int) -> float:
    """Update by the best of several ways; return the seconds of staging and statement."""
    forms = [(UPDATE, "s"), (UPSERT, "excluded")]
    forms += [(MERGE, "s")] if cluster.version >= 15 else []
    took = {}
    with psycopg.connect(cluster.conninfo, dbname=database, autocommit=True) as db:
        wanted = f"copy (select * from bench.events where id % {every} = 0) to stdout"
        rows = b"".join(bytes(block) for block in _copy_out(db, wanted))
        _update_by_hand(db, rows, UPSERT, "excluded", analyze=False)
        for form, prefix in forms:
            for analyze in (False, True):
                name = f"{form.split()[0]}{' analyzed' if analyze else ''}"
                took[name] = _update_by_hand(db, rows, form, prefix, analyze=analyze)
    print("by hand", shown(took), flush=True)
    return min(took.values())


def _update_by_hand(db, rows: bytes, form: str, prefix: str, *, analyze: bool) -> float:
    others = [name for name in FIELDS if name != "id"]
    changes = ", ".join(f"{name} = {prefix}.{name}" for name in others)
    started = time.perf_counter()
    db.execute("begin")
    db.execute("create temp table staged (like bench.events) on commit drop")
    with db.cursor().copy("copy staged from stdin") as copy:
        copy.write(rows)
    if analyze:
        db.execute("analyze staged")
    db.execute(form.format(changes).encode())
    db.execute("commit")
    took = time.perf_counter() - started
    db.execute("vacuum bench.events")
    return took


def _copy_out(db, statement: str):
    with db.cursor().copy(statement.encode()) as copy:
        yield from copy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--version", type=int)
    parser.add_argument("--no-document", action="store_true")
    asked = parser.parse_args()
    document = not asked.no_document
    every = max(1, asked.rows // asked.changed)
    results = {"copy": [], "load": [], "update by hand": [], "update": [], "read back": []}
    with postgres(asked.version) as cluster, tempfile.TemporaryDirectory() as folder:
        cluster.execute(*filter(str.strip, EVENTS.format(rows=asked.rows).split(";\n")))
        cluster.execute("vacuum analyze bench.events")
        new, changed = Path(folder, "new"), Path(folder, "changed")
        for run in range(asked.runs):
            with (
                cluster.new_database(f"limit{run}") as limit,
                cluster.new_database(f"ours{run}") as ours,
            ):
                endpoint = Endpoint(cluster, ours, document=document)
                endpoint.build()
                if run == 0:
                    how = {"document": document}
                    written(cluster, lines_query(endpoint.values, "true", exists=False, **how), new)
                    some = lines_query(endpoint.values, f"id % {every} = 0", exists=True, **how)
                    written(cluster, some, changed)
                create = [each for each in EVENTS.split(";\n") if "create" in each][:2]
                cluster.execute(*create, database=limit)

                def copy(limit=limit) -> None:
                    copied(cluster, "postgres", limit)

                took = measured(cluster, copy)
                print("copy", shown(took), flush=True)
                results["copy"].append(asked.rows / took["wall_s"])
                took = run_ours(cluster, endpoint, new)
                print("load", shown(took), flush=True)
                results["load"].append(asked.rows / took["wall_s"])
                if document:
                    results["update by hand"].append(asked.changed / by_hand(cluster, limit, every))
                    for _ in range(2):
                        cluster.execute("vacuum analyze events", database=ours)
                        took = run_ours(cluster, endpoint, changed)
                    print("update", shown(took), flush=True)
                    results["update"].append(asked.changed / took["wall_s"])
    medians = {name: round(statistics.median(each)) for name, each in results.items() if each}
    medians["load / copy"] = round(medians["load"] / medians["copy"], 2)
    if document:
        medians["update / by hand"] = round(medians["update"] / medians["update by hand"], 2)
    print(msgspec.json.encode(medians).decode())


if __name__ == "__main__":
    main()
