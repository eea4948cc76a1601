"""A directory, and a task that captures it."""

import pytest

from estuary_cdk.testing.file_task import FileTask
from source_files import capture


@pytest.fixture
def root(tmp_path):
    """An empty directory."""
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def task(root) -> FileTask:
    return FileTask(capture, {"directory": str(root)})
