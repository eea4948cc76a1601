import os
import subprocess
import sys

import pytest

from estuary_cdk.errors import ConfigError
from flow_local.recovery import locked

HOLDER = """
import sys, pathlib
from flow_local.recovery import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_holds_the_directory(tmp_path):
    with (
        locked(tmp_path / "data"),
        pytest.raises(ConfigError, match=rf"running on it as process {os.getpid()}"),
        locked(tmp_path / "data"),
    ):
        pass
    with locked(tmp_path / "data"):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(ConfigError, match=f"as process {holder.pid}"),
            locked(tmp_path),
        ):
            pass
        holder.kill()
    with locked(tmp_path):
        pass
