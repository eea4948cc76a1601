"""OpenSSH's server with a directory of files, and a task that captures it."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from estuary_cdk.testing.file_task import FileTask
from estuary_cdk.testing.ssh import PASSWORD, USER, SshServer, ssh
from estuary_cdk.testing.sshd import Sshd, program, sshd
from source_sftp import capture

numbers = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Sshd]:
    if program() is None and os.environ.get("CI") != "true":
        pytest.skip("needs OpenSSH's server: apt-get install openssh-server")
    with sshd(tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="session")
def others_server(server) -> Iterator[SshServer]:
    """Serve the same files to a user with a password, which OpenSSH takes from the system alone."""
    with ssh(server.files) as running:
        yield running


@pytest.fixture
def root(server) -> Path:
    """An empty directory on the server."""
    path = server.files / f"data-{next(numbers)}"
    path.mkdir()
    return path


@pytest.fixture
def task(server, root) -> FileTask:
    credentials = {"type": "sshKey", "username": server.user, "sshKey": server.private_key}
    config = {"address": server.address, "credentials": credentials, "directory": str(root)}
    return FileTask(capture, config)


@pytest.fixture
def password_task(others_server, root) -> FileTask:
    credentials = {"type": "password", "username": USER, "password": PASSWORD}
    address = others_server.address
    return FileTask(
        capture, {"address": address, "credentials": credentials, "directory": f"/{root.name}"}
    )
