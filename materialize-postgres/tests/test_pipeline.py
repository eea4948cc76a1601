"""PostgreSQL to PostgreSQL through flow-local, under load, with its processes killed: equality."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import yaml

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
KILLS = 3
ROWS = 2_000

TABLE = """
create table items (
  id bigint primary key, n integer not null, price numeric(20,5), name text, at timestamptz,
  day date, clock timetz, span interval, uid uuid, host inet, data jsonb, raw bytea, flag boolean,
  ratio double precision, tags text[]
)
"""
ROW = """
insert into items
select i, {n}, (i * 1009 % 99991)::numeric / 7, E'name "' || i || E'"\\n\\\\,{n}',
  timestamptz '0001-06-01' + i * interval '77 days 1.000001 s', date '2020-01-01' + i,
  ('12:00:00+0' || i % 10)::timetz, make_interval(days => i), md5(i::text)::uuid,
  ('10.0.' || i % 256 || '.1')::inet, jsonb_build_object('k', i, 'nested', array[i, null]),
  decode(md5(i::text), 'hex'), i % 2 = 0, i / 3.0, array['a', null, '"' || i]
from generate_series({first}, {last}) i
on conflict (id) do update set n = {n}, name = excluded.name
"""
# What both sides can say of a row in the same words.
SAME = (
    "select id, n, price, name, at::text, day, uid::text, raw, flag, ratio::float8, {inside}, "
    "extract(epoch from span) from {table} order by id"
)


# The properties of JSON that all documents have become columns of their own.
INFERRED = '"data/k"::text'


class Writer(threading.Thread):
    """Changes the source until told to stop, each change a transaction."""

    def __init__(self, conninfo: str) -> None:
        super().__init__()
        self.conninfo = conninfo
        self.stopped = threading.Event()
        self.changes = 0

    def run(self) -> None:
        chance = random.Random(7)
        with psycopg.connect(self.conninfo, autocommit=True) as db:
            while not self.stopped.wait(0.02):
                self.changes += 1
                first = chance.randrange(ROWS * 2)
                last = first + chance.randrange(50)
                if chance.random() < 0.25:
                    db.execute("delete from items where id between %s and %s", [first, last])
                else:
                    db.execute(ROW.format(n=self.changes, first=first, last=last).encode())


def catalog(database, source: str, directory: Path) -> None:
    """Write a catalog that brings the table from one database to the other."""
    endpoint = {key: value for key, value in database.settings().items() if key != "database"}
    advanced = {"slotName": f"slot_{source}", "publicationName": f"publication_{source}"}
    path = directory / "flow.yaml"
    capture = {
        **endpoint,
        "database": source,
        "discoveryFilters": {"discover_unpublished_tables": True},
        "advanced": advanced,
    }
    local = {"local": {"command": ["source-postgres"], "config": capture}}
    path.write_text(
        yaml.safe_dump({"captures": {"acme/source": {"endpoint": local, "bindings": []}}})
    )
    flow_local(directory, "discover", "--write")
    found = yaml.safe_load(path.read_text())
    [binding] = found["captures"]["acme/source"]["bindings"]
    into = {**endpoint, "database": database.name, "hardDelete": True}
    found["materializations"] = {
        "acme/destination": {
            "endpoint": {"local": {"command": ["materialize-postgres"], "config": into}},
            "bindings": [{"source": binding["target"], "resource": {"table": "copied"}}],
        }
    }
    path.write_text(yaml.safe_dump(found))


def flow_local(directory: Path, *words: str) -> None:
    done = subprocess.run(
        [BIN / "flow-local", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def killed(runtime: subprocess.Popen, program: str) -> bool:
    """Kill a process of the runtime's; tell whether there was one."""
    for child in psutil.Process(runtime.pid).children(recursive=True):
        try:
            if any(program in word for word in child.cmdline()):
                child.send_signal(signal.SIGKILL)
                return True
        except psutil.NoSuchProcess:
            continue
    return False


@pytest.mark.crash
def test_a_table_that_changes_arrives_whole_though_processes_are_killed(database, tmp_path):
    with database.cluster.new_database(f"source_{database.name}") as source:
        database.cluster.execute(TABLE, ROW.format(n=0, first=1, last=ROWS), database=source)
        catalog(database, source, tmp_path)
        flow_local(tmp_path, "run", "--until-idle")
        assert has_more(database)
        writer = Writer(f"{database.cluster.conninfo} dbname={source}")
        log = tmp_path / "log"
        with log.open("wb") as out:
            runtime = subprocess.Popen(
                [BIN / "flow-local", "run"], cwd=tmp_path, stdout=out, stderr=out, env=environment()
            )
        try:
            writer.start()
            for program in ["materialize-postgres"] * KILLS + ["source-postgres"]:
                until(lambda: has_more(database), log)
                until(lambda program=program: killed(runtime, program), log)
            writer.stopped.set()
            writer.join()
            rows = query(database, source, "items", "data->>'k'")
            until(lambda: query(database, database.name, "copied", INFERRED) == rows, log)
        finally:
            writer.stopped.set()
            runtime.send_signal(signal.SIGTERM)
            runtime.wait(PATIENCE_S)
        assert writer.changes > 10
        documents = database.run("select id, flow_document->>'n' from copied order by id")
        assert documents == [(row[0], str(row[1])) for row in rows]


def query(database, name: str, table: str, inside: str) -> list:
    with psycopg.connect(database.cluster.conninfo, dbname=name, autocommit=True) as db:
        if db.execute("select to_regclass(%s)", [table]).fetchone() == (None,):
            return []
        return db.execute(SAME.format(table=table, inside=inside).encode()).fetchall()


seen: dict[str, int] = {}


def has_more(database) -> bool:
    """Tell whether the destination committed a transaction since the last call."""
    try:
        [(now,)] = database.run("select coalesce(max(xmin::text::bigint), 0) from copied")
    except psycopg.errors.UndefinedTable:
        return False
    before, seen[database.name] = seen.get(database.name, 0), now
    return now > before


def until(done, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            lines = log.read_text().splitlines()
            raise AssertionError([each for each in lines if "acme/destination" in each][-20:])
        time.sleep(0.2)
