"""From files of a bucket to tables through flow-local, as somebody does who has only the bucket."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from estuary_cdk.testing.patience import HANGS_S

BIN = Path(sys.executable).parent
CATALOG = """
captures:
  acme/files:
    endpoint: {{local: {{command: [source-s3], config: {config}}}}}
    bindings: []
"""
TABLES = """
materializations:
  acme/out:
    endpoint: {local: {command: [materialize-sqlite], config: {path: out.db}}}
    bindings:
"""


def flow_local(directory, *words) -> None:
    done = subprocess.run(
        [BIN / "flow-local", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_prefixes_are_discovered_and_become_tables_with_columns_of_their_types(bucket, tmp_path):
    bucket.put("people/a.csv", b"id,name,score,zip,left\n1,Ann,1.5,01234,\n2,Bob,,00007,\n")
    bucket.put("orders/a.csv", b"order,paid,at\n77,true,2026-01-31T00:00:00Z\n")
    bucket.config["prefixes"] = ["people/", "orders/"]
    catalog = tmp_path / "flow.yaml"
    catalog.write_text(CATALOG.format(config=msgspec.json.encode(bucket.config).decode()))
    flow_local(tmp_path, "discover", "--write")
    tables = [
        f"      - {{source: acme/{bucket.name}/{table}, resource: {{table: {table}}}}}\n"
        for table in ("people", "orders")
    ]
    with catalog.open("a") as file:
        file.write(TABLES + "".join(tables))
    flow_local(tmp_path, "run", "--until-idle")

    assert columns(tmp_path, "people") == {
        "id": "INTEGER",
        "name": "TEXT",
        "score": "REAL",
        "zip": "NUMERIC TEXT",
    }
    assert columns(tmp_path, "orders") == {"order": "INTEGER", "paid": "BOOLEAN", "at": "TEXT"}

    # What no sample showed stops nothing: a column of numbers then takes any JSON.
    bucket.put("people/b.csv", b"id,name,score,zip,left\nx3,Cy,high,,7\n")
    flow_local(tmp_path, "run", "--until-idle")
    assert columns(tmp_path, "people")["left"] == "INTEGER"
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        rows = database.execute('select id, score, zip, "left" from people order by name')
        assert [*map(list, rows)] == [
            ["1", "1.5", "01234", None],
            ["2", None, "00007", None],
            ['"x3"', '"high"', None, 7],
        ]


def columns(directory, table) -> dict[str, str]:
    with closing(sqlite3.connect(directory / "out.db")) as database:
        found = database.execute("select name, type from pragma_table_info(?)", [table])
        return {name: kind for name, kind in found if not name.startswith(("_meta", "flow_"))}
