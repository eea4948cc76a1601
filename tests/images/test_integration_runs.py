"""Images pass the integration runs that the installed commands pass."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from estuary_cdk.testing.sshd import program

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("connector", "script"),
    [
        ("source-http", "run.sh"),
        ("source-postgres", "run.sh"),
        ("source-gcs", "run.sh"),
        ("source-s3", "run.sh"),
        ("source-sftp", "run.sh"),
        ("materialize-sqlite", "materialize/run.sh"),
        ("materialize-postgres", "materialize/run.sh"),
        ("materialize-bigquery", "materialize/run.sh"),
    ],
)
def test_an_image_passes_its_integration_run(build, connector, script):
    if connector == "source-sftp" and program() is None and os.environ.get("CI") != "true":
        pytest.skip("needs OpenSSH's server: apt-get install openssh-server")
    assert build(connector) == f"ghcr.io/estuary/{connector}:local"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CONNECTOR": connector, "VERSION": "local"}
    ended = subprocess.run(
        [TESTS / script], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{connector} (local): " in ended.stdout.splitlines()[-1]
