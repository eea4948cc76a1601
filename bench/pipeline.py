"""PostgreSQL to PostgreSQL through flow-local, end to end: the initial copy of a table.

    python bench/pipeline.py [--rows 1000000] [--runs 3] [--version 18] [--no-document]

On a private cluster with two databases, alternating: `COPY | COPY` of the table into one with a
primary key, and `flow-local run --until-idle`, from its start to its end. Each of ours is held
against the source afterwards, row by row. Wall and CPU seconds, peak memory of each process;
medians and ratios come last, as JSON.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import psycopg
import yaml
from measure import measured
from postgres import EVENTS, server_cpu

from estuary_cdk.testing.postgres import postgres

BIN = Path(sys.executable).parent
ENVIRONMENT = {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "SHUTDOWN_AFTER_POLLING": "yes",
    "LOG_LEVEL": "warn",
}
SAME = """
select count(*), sum(hashtextextended(concat_ws('|', id, qty, price, title, created_at, active,
  uid, score, day, payload, note), 0)) from {table}
"""


def catalog(cluster, directory: Path, *, document: bool) -> Path:
    """Write a catalog of the table whose schema is what the source tells of it."""
    endpoint = {
        "address": cluster.address,
        "user": "postgres",
        "credentials": {"auth_type": "UserPassword", "password": "none"},
    }
    source = {
        **endpoint,
        "database": "source",
        "advanced": {"slotName": "bench_pipeline", "publicationName": "events"},
    }
    path = directory / "flow.yaml"
    capture = {"endpoint": {"local": {"command": ["source-postgres"], "config": source}}}
    path.write_text(yaml.safe_dump({"captures": {"bench/source": {**capture, "bindings": []}}}))
    found = flow_local(directory, "discover", "--write") or yaml.safe_load(path.read_text())
    [binding] = found["captures"]["bench/source"]["bindings"]
    for file in directory.glob("**/flow.yaml"):
        told = yaml.safe_load(file.read_text())
        for collection in told.get("collections", {}).values():
            # A schema that is inferred would have the destination wait for the whole table.
            collection["schema"] = collection.pop("writeSchema", collection.get("schema"))
            collection.pop("readSchema", None)
        file.write_text(yaml.safe_dump(told))
    found = yaml.safe_load(path.read_text())
    into = {**endpoint, "database": "destination"}
    fields = {"recommended": True, "exclude": [] if document else ["flow_document"]}
    found["materializations"] = {
        "bench/destination": {
            "endpoint": {"local": {"command": ["materialize-postgres"], "config": into}},
            "bindings": [
                {
                    "source": binding["target"],
                    "resource": {"table": "events", "delta_updates": not document},
                    "fields": fields,
                }
            ],
        }
    }
    path.write_text(yaml.safe_dump(found))
    return path


def flow_local(directory: Path, *words: str) -> None:
    subprocess.run(
        [BIN / "flow-local", *words],
        cwd=directory,
        check=True,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
    )


def copied(cluster, rows: int) -> float:
    """Copy the table with the server's own means; return rows per second."""
    cluster.execute("drop table if exists copied", database="destination")
    cluster.execute(
        "create table copied (id bigint primary key, qty integer, price numeric, title text, "
        "created_at timestamptz, active boolean, attrs jsonb, uid uuid, score float8, day date, "
        "payload bytea, note text)",
        database="destination",
    )
    psql = f"'{cluster.bin}/psql' -q -p {cluster.port} -h {cluster.socket} -U postgres -d"
    out, into = "copy bench.events to stdout", "copy copied from stdin"
    took = measured(["sh", "-c", f"{psql} source -c '{out}' | {psql} destination -c '{into}'"])
    print(f"COPY | COPY: {took.wall_s:.1f} s, {rows / took.wall_s:,.0f} rows/s", flush=True)
    return rows / took.wall_s


def ours(cluster, rows: int, *, document: bool) -> float:
    """Bring the table over, compare it, and return rows per second."""
    cluster.execute("drop database if exists destination with (force)")
    cluster.execute("create database destination")
    with tempfile.TemporaryDirectory() as name:
        path = catalog(cluster, Path(name), document=document)
        served = server_cpu(cluster)
        took = measured(
            [BIN / "flow-local", "run", "--until-idle", "--source", path], environment=ENVIRONMENT
        )
        served = server_cpu(cluster) - served
    peaks = ", ".join(f"{name} {peak:.0f} MB" for name, peak in sorted(took.peaks_mb.items()))
    print(
        f"flow-local: {took.wall_s:.1f} s, {rows / took.wall_s:,.0f} rows/s, "
        f"CPU {took.cpu_s:.1f} s + server {served:.1f} s; {peaks}",
        flush=True,
    )
    assert answer(cluster, "source", "bench.events") == answer(cluster, "destination", "events")
    cluster.execute("select pg_drop_replication_slot('bench_pipeline')", database="source")
    return rows / took.wall_s


def answer(cluster, database: str, table: str) -> list:
    with psycopg.connect(cluster.conninfo, dbname=database) as db:
        return db.execute(SAME.format(table=table).encode()).fetchall()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--no-document", action="store_true")
    asked = parser.parse_args()
    document = not asked.no_document
    results: dict[str, list[float]] = {"copy": [], "flow-local": []}
    with postgres(asked.version) as cluster:
        cluster.execute("create database source")
        cluster.execute("create database destination")
        cluster.execute(*EVENTS.format(rows=asked.rows).split(";\n"), database="source")
        for _ in range(asked.runs):
            results["copy"].append(copied(cluster, asked.rows))
            results["flow-local"].append(ours(cluster, asked.rows, document=document))
    medians = {name: round(statistics.median(each)) for name, each in results.items()}
    medians["ratio"] = round(medians["flow-local"] / medians["copy"], 2)
    print(msgspec.json.encode(medians).decode())


if __name__ == "__main__":
    main()
