"""Failpoints fail where and when they are told to."""

import signal
import subprocess
import sys

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.failpoints import FailpointError, arm, failpoint


@pytest.fixture(autouse=True)
def _disarmed():
    yield
    arm("")


def test_a_failpoint_fails_at_the_pass_asked_for_and_only_then():
    arm("a.b=error@3")
    failpoint("a.b")
    failpoint("other")
    failpoint("a.b")
    with pytest.raises(FailpointError):
        failpoint("a.b")
    failpoint("a.b")


def test_kill_ends_the_process_like_kill_9():
    program = "from estuary_cdk.failpoints import failpoint; failpoint('here'); print('alive')"
    environment = {"FAILPOINTS": "here=kill", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


@pytest.mark.parametrize("text", ["a", "a=explode", "a=kill@x"])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(ConfigError, match="can't read failpoint"):
        arm(text)
