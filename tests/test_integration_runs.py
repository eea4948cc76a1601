"""The integration runs of `tests/` work, and clean up however they end."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from estuary_cdk.testing.sshd import program

TESTS = Path(__file__).parent
WAIT_S = 300
ENVIRONMENT = {
    **os.environ,
    # The environment that runs the tests is the one that is tested.
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "VERSION": "dev",
    "TIMEOUT": "240",
}


def start(script, **environment) -> subprocess.Popen:
    return subprocess.Popen(
        [TESTS / script],
        env={**ENVIRONMENT, **{key: str(value) for key, value in environment.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process) -> str:
    with process:
        out, _ = process.communicate(timeout=WAIT_S)
    return out


class Case:
    """A case of run.sh for a connector that stays, in a directory of its own."""

    def __init__(self, path: Path, **config) -> None:
        self.cases, self.case, self.temp = path, path / "odd", path / "temp"
        self.case.mkdir()
        self.temp.mkdir()
        program = path / "bin" / "odd"
        program.parent.mkdir()
        connector = shlex.join([sys.executable, str(TESTS / "foreign/odd_connector.py"), "capture"])
        program.write_text(f"#!/bin/sh\nexec {connector}\n")
        program.chmod(0o755)
        self.write("cleanup.sh", f"kill $SLEEPER; touch {path}/cleaned")
        self.write("expected.txt", "id|canary\n1|found")
        documents = '{\\"documents\\":[{\\"id\\":1,\\"canary\\":\\"found\\"}],\\"stays\\":STAYS}'
        documents = documents.replace("STAYS", "true" if config.get("stays") else "false")
        self.write(
            "setup.sh",
            f"sleep 1000 & export SLEEPER=$!; echo $SLEEPER >{path}/sleeper\n"
            f"serve sh -c 'echo ready; exec sleep 1000'; echo $server >{path}/served\n"
            f'export CONNECTOR_CONFIG="{documents}" RESOURCE=\'{{"name":"x"}}\'',
        )
        self.environment = {
            "CASES": path,
            "CONNECTOR": "odd",
            "TMPDIR": self.temp,
            "PATH": f"{program.parent}{os.pathsep}{ENVIRONMENT['PATH']}",
        }

    def write(self, name: str, text: str) -> None:
        (self.case / name).write_text(text + "\n")

    @property
    def is_clean(self) -> bool:
        pids = [int((self.cases / name).read_text()) for name in ("sleeper", "served")]
        return (
            (self.cases / "cleaned").exists()
            and not any(map(runs, pids))
            and list(self.temp.iterdir()) == []
        )


def runs(pid: int) -> bool:
    """Tell whether a process runs; one that only waits for init to take notice doesn't."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def case(tmp_path) -> Case:
    return Case(tmp_path)


def test_files_of_every_kind_over_http_become_rows():
    process = start("run.sh", CONNECTOR="source-http")
    out = ended(process)
    assert process.returncode == 0, out
    assert out.splitlines()[-1] == "source-http (dev): all 20 rows are as expected"


def test_rows_of_a_database_and_their_changes_become_rows():
    process = start("run.sh", CONNECTOR="source-postgres")
    out = ended(process)
    assert process.returncode == 0, out
    assert out.splitlines()[-1] == "source-postgres (dev): all 20 rows are as expected"


@pytest.mark.parametrize("connector", ["source-s3", "source-files", "source-gcs", "source-sftp"])
def test_files_of_every_kind_in_a_store_become_rows(connector):
    if connector == "source-sftp" and program() is None and os.environ.get("CI") != "true":
        pytest.skip("needs OpenSSH's server: apt-get install openssh-server")
    process = start("run.sh", CONNECTOR=connector)
    out = ended(process)
    assert process.returncode == 0, out
    assert out.splitlines()[-1] == f"{connector} (dev): all 20 rows are as expected"


@pytest.mark.parametrize(
    "connector", ["materialize-sqlite", "materialize-postgres", "materialize-bigquery"]
)
def test_every_type_name_and_delete_becomes_what_the_snapshot_says(connector):
    process = start("materialize/run.sh", CONNECTOR=connector)
    out = ended(process)
    assert process.returncode == 0, out
    last = f"{connector} (dev): actions, columns and rows are as expected"
    assert out.splitlines()[-1] == last


def test_updating_writes_the_snapshot_and_another_one_fails_the_run(tmp_path):
    ours = TESTS / "materialize/materialize-sqlite"
    case = tmp_path / "materialize-sqlite"
    case.mkdir()
    shutil.copy(ours / "show.py", case)
    (case / "setup.sh").write_text(f". {ours}/setup.sh\nunset HARD_DELETE_CONFIG\n")
    snapshot = case / "snapshot.txt"
    environment = {"CONNECTOR": "materialize-sqlite", "CASES": tmp_path}

    ended(start("materialize/run.sh", **environment, UPDATE_SNAPSHOTS="true"))
    found = snapshot.read_text()
    assert (ours / "snapshot.txt").read_text().startswith(found + "# deleting rows")

    snapshot.write_text(found.replace("armament again", "armament at last"))
    process = start("materialize/run.sh", **environment)
    out = ended(process)
    assert process.returncode == 1
    assert '\n-{"id": 2, "_meta/op": "c", "canary": "armament at last"' in out


def test_a_run_whose_rows_are_as_expected_passes_and_cleans_up(case):
    process = start("run.sh", **case.environment)
    out = ended(process)
    assert process.returncode == 0, out
    assert case.is_clean


def test_other_rows_fail_the_run_with_their_difference_and_it_cleans_up(case):
    case.write("expected.txt", "id|canary\n1|wanted")
    process = start("run.sh", **case.environment)
    out = ended(process)
    assert process.returncode == 1
    assert "\n-1|wanted\n+1|found\n" in out
    assert case.is_clean


def test_a_setup_that_fails_fails_the_run_and_it_cleans_up(case):
    case.write("setup.sh", (case.case / "setup.sh").read_text() + "false")
    process = start("run.sh", **case.environment)
    out = ended(process)
    assert process.returncode == 1, out
    assert case.is_clean


def test_an_unknown_stream_fails_the_run_and_names_those_there_are(case):
    case.write("setup.sh", (case.case / "setup.sh").read_text() + "export TEST_STREAM=other")
    process = start("run.sh", **case.environment)
    out = ended(process)
    assert process.returncode == 1
    assert "stream 'other' is not discovered; these are: things" in out
    assert case.is_clean


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_it_cleans_up(tmp_path, number):
    case = Case(tmp_path, stays=True)
    process = start("run.sh", **case.environment)
    deadline = time.monotonic() + WAIT_S
    while not list(case.temp.glob("*/results.db")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    ended(process)
    assert process.returncode == 128 + number
    assert case.is_clean
    assert [child for child in children if runs(child.pid)] == []


def test_a_connector_without_a_case_is_refused():
    process = start("run.sh", CONNECTOR="source-nothing")
    out = ended(process)
    assert process.returncode == 2
    assert "can't test connector 'source-nothing': there is no " in out
