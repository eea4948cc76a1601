"""The demo of changes: a busy database arrives whole; its server ends however the demo does."""

import re
import signal
import socket
import sqlite3
import time
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import psutil
import pytest

from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.testing.postgres import postgres
from flow_local.cli.demo.comparison import Compared, Selection, compared, has_rows, same, verdict

WAIT_S = HANGS_S
EQUAL = "\nsource and destination are equal\n"


def port_of(out: str) -> int:
    found = re.search(r"runs at 127\.0\.0\.1:(\d+)", out)
    assert found, out
    return int(found[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def documents(out: str, collection: str) -> int:
    """How many documents of a collection the destination got, as the table says."""
    table = out.partition("demo/materialize-sqlite")[2]
    found = re.search(rf"{collection} +([\d,]+) ", table)
    assert found, out
    return int(found[1].replace(",", ""))


def test_a_busy_database_arrives_whole_and_does_so_again(project, newcomers):
    for _ in range(2):
        ended = project.run("demo", "--seconds", "1", env=newcomers)
        assert (ended.code, ended.err) == (0, "")
        assert EQUAL in ended.out
        compared = ended.out.partition("compared:")[2]
        rows = re.findall(r"^(\w+) +([\d,]+) +([\d,]+) +equal", compared, re.MULTILINE)
        assert [table for table, _, _ in rows] == ["customers", "products", "orders", "order_lines"]
        assert all(source == destination for _, source, destination in rows)
        assert documents(ended.out, "demo/orders") > 8000
        assert not listens(port_of(ended.out))
    with closing(sqlite3.connect(project.path / "flow-demo/postgres/shop.db")) as database:
        [count] = database.execute("SELECT count(*) FROM order_lines").fetchone()
    assert f"{count:,}" == rows[-1][2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_server_and_all_processes_end_however_the_demo_does(project, number):
    with project.start("demo", "--seconds", "1000", env={"PYTHONUNBUFFERED": "1"}) as demo:
        database = project.path / "flow-demo/postgres/shop.db"
        deadline = time.monotonic() + WAIT_S
        while not has_rows(database, "orders"):
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        out, err = demo.communicate(timeout=WAIT_S)
    assert demo.returncode == (-number if number == signal.SIGKILL else 1)
    if number != signal.SIGKILL:
        assert err == "stopped before all was done; run it again to go on\n"
    while listens(port_of(out)) or any(map(runs, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(process: psutil.Process) -> bool:
    """Tell whether a process does anything; one that nobody waits for yet doesn't."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_directory_with_a_catalog_of_someones_is_left_alone(project):
    before = project.digest(), (project.path / "flow.yaml").read_text()
    ended = project.call("demo", "--directory", ".")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "can't run the demo in '.': it has a flow.yaml that isn't the demo's "
        "(choose another directory with --directory)\n"
    )
    assert (project.digest(), (project.path / "flow.yaml").read_text()) == before


def test_rows_that_are_missing_too_many_or_other_are_named(tmp_path):
    database = tmp_path / "d.db"
    with closing(sqlite3.connect(database)) as sqlite:
        sqlite.executescript(
            "CREATE TABLE t (a INTEGER, b TEXT, price TEXT);"
            "INSERT INTO t VALUES (1, 'x', '1.50'), (2, 'x', '1.5'), (4, 'x', '0.00')"
        )
    tables = {name: Selection(("a", "b"), ("price",), {}) for name in ("t", "other")}
    with postgres() as cluster:
        cluster.execute(
            "CREATE TABLE t (a int, b text, price numeric(10,2))",
            "INSERT INTO t VALUES (1, 'x', 1.5), (2, 'x', 1.5), (3, 'x', 0)",
            "CREATE TABLE other AS SELECT * FROM t WHERE a = 1",
        )
        found = compared(cluster.conninfo, database, tables)
    assert [(each.source_rows, each.destination_rows) for each in found] == [(3, 3), (1, 0)]
    assert verdict(found) == [
        "source and destination differ in 4 places:",
        "  t 2, x differs in price: Decimal('1.50') in the source, '1.5' stored",
        "  t 3, x is not in the destination",
        "  t 4, x is not in the source",
        "  other 1, x is not in the destination",
    ]


def test_many_differences_are_cut_short():
    told = verdict([Compared("t", 1, 1, [f"t {n} is not in the source" for n in range(1234)])])
    assert len(told) == 12
    assert told[-1] == "  and 1,224 more"


@pytest.mark.parametrize(
    ("ours", "theirs", "is_same"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (None, None, True),
        (None, "", False),
        (True, 1, True),
        (True, 0, False),
        (Decimal("1.50"), "1.50", True),
        (Decimal("1.50"), "1.5", False),
        (date(2026, 1, 2), "2026-01-02", True),
        (datetime(2026, 1, 2, 3, 4, 5, 600, UTC), "2026-01-02T03:04:05.0006Z", True),
        (datetime(2026, 1, 2, 3, 4, 5, 600, UTC), "2026-01-02T03:04:05.0007Z", False),
        (datetime(2026, 1, 2, tzinfo=UTC), None, False),
        ("x", "x", True),
    ],
)
def test_values_are_compared_to_the_last_digit(ours, theirs, is_same):
    assert same(ours, theirs) is is_same
