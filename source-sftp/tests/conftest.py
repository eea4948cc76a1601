"""A loopback SFTP server, and a task that captures a directory of it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from estuary_cdk.testing.file_task import FileTask
from estuary_cdk.testing.ssh import PASSWORD, USER, SshServer, ssh
from source_sftp import capture

numbers = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[SshServer]:
    with ssh(tmp_path_factory.mktemp("sftp")) as running:
        yield running


@pytest.fixture
def root(server) -> Path:
    """An empty directory on the server."""
    path = server.files / f"data-{next(numbers)}"
    path.mkdir()
    return path


@pytest.fixture
def task(server, root) -> FileTask:
    credentials = {"type": "password", "username": USER, "password": PASSWORD}
    config = {"address": server.address, "credentials": credentials, "directory": f"/{root.name}"}
    return FileTask(capture, config)
