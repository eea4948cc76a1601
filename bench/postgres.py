"""source-postgres against the limits of its server: a backfill, a backlog, a single row's way.

    python bench/postgres.py [--rows 1000000] [--runs 3] [--version 18] [--only backfill changes]
    python bench/postgres.py --rows 1 --only discovery

Each run alternates ours with the limit, on a private cluster: `COPY (SELECT row_to_json(t))` read
by psql, and `pg_recvlogical` with pgoutput to /dev/null. Ours includes the start of the process.
Wall seconds, CPU seconds of the tool and of the server beside it, peak memory of the tool's
processes together; medians and ratios come last, as JSON. A ratio above 1 means that ours is
faster, or takes less.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import psycopg

from estuary_cdk.capture.state import merged
from estuary_cdk.testing.postgres import postgres

CONNECTOR = Path(sys.executable).with_name("source-postgres")
EVENTS = """
create schema bench;
create table bench.events (id bigint primary key, qty integer not null,
  price numeric(12,2) not null, title text not null, created_at timestamptz not null,
  active boolean not null, attrs jsonb not null, uid uuid not null,
  score double precision not null, day date not null, payload bytea not null, note text);
insert into bench.events
select i, (random()*1000)::int, (random()*100000)::numeric(12,2),
  substr(repeat(md5(i::text),4), 1, 20 + (i % 81)::int),
  timestamptz '2024-01-01 00:00:00+00' + (i * interval '13.7 seconds'), i % 3 = 0,
  jsonb_build_object('k', i % 100, 'tag', md5((i%977)::text),
    'nested', jsonb_build_object('a', i, 'b', array[i%7, i%11])),
  md5(i::text || 'u')::uuid, random()*1e6, date '2020-01-01' + (i % 2000)::int,
  decode(md5(i::text || 'b'), 'hex'), case when i % 3 = 1 then 'note ' || i end
from generate_series(1, {rows}) i;
create table bench.changes (like bench.events including all);
create publication events for table bench.events;
create publication changes for table bench.changes;
"""


class Capture:
    """The connector's process, captured table and state."""

    def __init__(self, cluster, table: str) -> None:
        self.config = {
            "address": cluster.address, "user": "postgres",
            "credentials": {"auth_type": "UserPassword", "password": "none"},
            "advanced": {"slotName": f"bench_{table}", "publicationName": table},
        }  # fmt: skip
        asked = {"discover": {"connectorType": "LOCAL", "config": self.config}}
        answer = subprocess.run(
            [CONNECTOR], input=msgspec.json.encode(asked) + b"\n", capture_output=True, check=True
        )
        [found] = msgspec.json.decode(answer.stdout)["discovered"]["bindings"]
        collection = {"name": "a/c", "writeSchema": found["documentSchema"], "key": found["key"]}
        self.binding = {
            "resourceConfig": found["resourceConfig"],
            "resourcePath": ["bench", table],
            "collection": collection,
            "stateKey": table,
        }
        self.state = {}
        self.peak_mb = 0.0

    @contextmanager
    def process(self, out, *, until_caught_up: bool = True):
        spec = {"name": "a/b", "connectorType": "LOCAL", "config": self.config,
                "bindings": [self.binding]}  # fmt: skip
        opening = {"open": {"capture": spec, "version": "1", "state": self.state,
                            "range": {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1}}}  # fmt: skip
        environment = {**os.environ, "SHUTDOWN_AFTER_POLLING": "yes" if until_caught_up else ""}
        process = subprocess.Popen(
            [CONNECTOR], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
        process.stdin.write(msgspec.json.encode(opening) + b"\n")
        process.stdin.flush()
        yield process
        process.stdin.close()
        process.wait()

    def run(self) -> None:
        """Capture to nowhere until caught up."""
        with Path(os.devnull).open("wb") as nowhere, self.process(nowhere) as process:
            self.peak_mb = peak_mb(process)

    def begin(self) -> None:
        """Capture what there is, and keep the state."""
        with tempfile.TemporaryFile() as out:
            with self.process(out) as process:
                process.wait()
            out.seek(0)
            for line in out:
                message = msgspec.json.decode(line)
                if "checkpoint" in message:
                    self.state = merged(self.state, message["checkpoint"]["state"]["updated"])


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took: seconds on the wall, of the tool's CPU and of the server's, and memory."""

    wall_s: float
    tool_s: float
    server_s: float
    peak_mb: float


def server_cpu(cluster) -> float:
    """Return the CPU seconds that the server took so far, those of ended sessions included."""
    text = (cluster.directory / "data" / "postmaster.pid").read_text()
    leader = psutil.Process(int(text.splitlines()[0]))
    times = leader.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in leader.children():
        with suppress(psutil.Error):
            total += sum(child.cpu_times()[:2])
    return total


def peak_mb(process) -> float:
    """Wait for a process; return the most that it and those it started took of memory together."""
    leader, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        with suppress(psutil.Error):
            family = [leader, *leader.children(recursive=True)]
            peak = max(peak, sum(each.memory_info().rss for each in family))
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    return peak / 2**20


def cost(cluster, work, peak=lambda: 0.0) -> Cost:
    before, served = resource.getrusage(resource.RUSAGE_CHILDREN), server_cpu(cluster)
    started = time.perf_counter()
    work()
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A session's process ends, and its time is counted, a moment after its client went.
    time.sleep(0.5)
    tool = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, tool, server_cpu(cluster) - served, peak())


def to_nowhere(*command: object) -> None:
    subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)


def backfill(cluster, rows: int, runs: int) -> dict:
    capture = Capture(cluster, "events")
    query = "copy (select row_to_json(t) from bench.events t) to stdout"
    limits, ours = [], []
    for _ in range(runs):
        limits.append(
            cost(cluster, lambda: to_nowhere(cluster.bin / "psql", cluster.conninfo, "-c", query))
        )
        ours.append(cost(cluster, capture.run, lambda: capture.peak_mb))
    return summary(rows, limits, ours)


def changes(cluster, rows: int, runs: int, control) -> dict:
    capture = Capture(cluster, "changes")
    capture.begin()
    control.execute(
        "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where active"
    )
    for run in range(runs):
        control.execute(f"select pg_copy_logical_replication_slot('bench_changes', 'peer{run}')")
    step = 1000
    for first in range(0, rows, step):
        span = f"where id > {first} and id <= {first + step}"
        control.execute(f"insert into bench.changes select * from bench.events {span}")
        if first < rows * 3 // 4:
            control.execute(f"update bench.changes set qty = qty + 1, note = 'new' {span}")
    end = control.execute("select pg_current_wal_flush_lsn()::text").fetchone()[0]
    limits, ours = [], []
    for run in range(runs):
        command = [cluster.bin / "pg_recvlogical", "-d", cluster.conninfo, "--slot", f"peer{run}",
                   "--start", "-o", "proto_version=1", "-o", "publication_names=changes",
                   "-f", os.devnull, "--endpos", end, "--no-loop"]  # fmt: skip
        limits.append(cost(cluster, lambda c=command: to_nowhere(*c)))
        ours.append(cost(cluster, capture.run, lambda: capture.peak_mb))
    return summary(rows + rows * 3 // 4, limits, ours)


def latency(cluster, control, count: int) -> dict:
    capture = Capture(cluster, "changes")
    capture.begin()
    moments = []
    with capture.process(subprocess.PIPE, until_caught_up=False) as process:
        for line in process.stdout:
            if b'"checkpoint"' in line:
                break
        time.sleep(1)
        for index in range(count):
            marker = b'"id":%d,' % (-index - 1)
            control.execute(
                f"insert into bench.changes select {-index - 1}, qty, price, title, created_at, "
                "active, attrs, uid, score, day, payload, note from bench.events where id = 1"
            )
            committed = time.perf_counter()
            while marker not in process.stdout.readline():
                pass
            moments.append((time.perf_counter() - committed) * 1000)
    moments.sort()
    return {"p50_ms": moments[count // 2], "p99_ms": moments[count * 99 // 100]}


def discovery(cluster, control) -> dict:
    """Measure a discovery of many tables."""
    control.execute("create schema many")
    for first in range(0, TABLES, 1000):
        control.execute(
            f"do $$ begin for i in {first}..{first + 999} loop "
            "execute format('create table many.t%s (id int primary key, a text, b timestamptz, "
            "c numeric, d jsonb)', i); end loop; end $$"
        )
    config = Capture(cluster, "events").config
    config["discoveryFilters"] = {"discover_unpublished_tables": True, "include_schemas": ["many"]}
    asked = msgspec.json.encode({"discover": {"connectorType": "LOCAL", "config": config}})
    found = []

    def discover() -> None:
        answer = subprocess.run(
            [CONNECTOR], input=asked + b"\n", stdout=subprocess.PIPE, check=True
        ).stdout
        found[:] = msgspec.json.decode(answer)["discovered"]["bindings"]

    took = cost(cluster, discover)
    assert len(found) == TABLES
    return {
        "tables": TABLES,
        "seconds": round(took.wall_s, 1),
        "tool_s": round(took.tool_s, 1),
        "server_s": round(took.server_s, 1),
    }


def summary(count: int, limits: list[Cost], ours: list[Cost]) -> dict:
    """Compare medians; memory is the largest."""

    def median(runs: list[Cost], what: str) -> float:
        return statistics.median(getattr(run, what) for run in runs)

    return {
        "limit_per_s": round(count / median(limits, "wall_s")),
        "ours_per_s": round(count / median(ours, "wall_s")),
        "ratio": round(median(limits, "wall_s") / median(ours, "wall_s"), 2),
        **{
            f"{who}_{what}": round(median(runs, what), 2)
            for who, runs in (("limit", limits), ("ours", ours))
            for what in ("tool_s", "server_s")
        },
        **{
            f"{who}_cpu_s_per_million": round(
                statistics.median(run.tool_s + run.server_s for run in runs) * 1e6 / count, 2
            )
            for who, runs in (("limit", limits), ("ours", ours))
        },
        "ours_peak_mb": round(max(run.peak_mb for run in ours)),
    }


STAGES = ("backfill", "changes", "latency")
DISCOVERY = "discovery"
TABLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--version", type=int, default=None)
    parser.add_argument("--only", nargs="+", choices=(*STAGES, DISCOVERY), default=STAGES)
    asked = parser.parse_args()
    with (
        postgres(asked.version, settings={"shared_buffers": "512MB"}) as cluster,
        psycopg.connect(cluster.conninfo, autocommit=True) as control,
    ):
        control.execute(EVENTS.format(rows=asked.rows))
        control.execute("vacuum analyze bench.events")
        results = {"version": cluster.version, "rows": asked.rows, "load": os.getloadavg()[0]}
        if "backfill" in asked.only:
            results["backfill"] = backfill(cluster, asked.rows, asked.runs)
        if "changes" in asked.only:
            results["changes"] = changes(cluster, min(asked.rows, 200_000), asked.runs, control)
        if "latency" in asked.only:
            results["latency"] = latency(cluster, control, 200)
        if DISCOVERY in asked.only:
            results[DISCOVERY] = discovery(cluster, control)
    print(msgspec.json.format(msgspec.json.encode(results)).decode())


if __name__ == "__main__":
    main()
