"""Private clusters start, decode logically, and leave nothing behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.testing.postgres import postgres, versions

WAIT_S = HANGS_S


def test_a_cluster_is_ready_for_logical_decoding_and_gone_afterwards():
    with postgres() as cluster:
        assert cluster.execute("show wal_level") == [("logical",)]
        with cluster.new_database("a b") as name:
            cluster.execute(
                "select pg_create_logical_replication_slot('s', 'pgoutput')", database=name
            )
        assert cluster.execute("select count(*) from pg_replication_slots") == [(0,)]
    assert not cluster.directory.exists()


STARTING = """
from estuary_cdk.testing.postgres import postgres
with postgres() as cluster:
    pid = (cluster.directory / "data/postmaster.pid").read_text().split()[0]
    print(pid, cluster.directory, flush=True)
    input()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_cluster_ends_with_the_process_that_started_it_however_that_ends(number):
    with subprocess.Popen(
        [sys.executable, "-c", STARTING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pid, directory = starter.stdout.readline().split(maxsplit=1)
        server = psutil.Process(int(pid))
        starter.send_signal(number)
        starter.wait()
    deadline = time.monotonic() + WAIT_S
    while running(server) or Path(directory.strip()).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(process: psutil.Process) -> bool:
    """Tell whether a process does anything; one that nobody waits for yet doesn't."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_versions_that_python_packages_bring_are_there():
    assert {18, 16} <= set(versions())


def test_a_version_that_isnt_installed_is_named():
    with pytest.raises(ConfigError, match="PostgreSQL 11"), postgres(11):
        pass
