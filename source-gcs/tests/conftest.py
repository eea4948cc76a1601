"""A bucket of a private service, and a task that captures it."""

from collections.abc import Iterator
from itertools import count

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Bucket, Client

from estuary_cdk.testing.file_task import FileTask
from estuary_cdk.testing.gcs import gcs
from source_gcs import capture

numbers = count()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with gcs() as address:
        yield address


@pytest.fixture
def bucket(endpoint) -> Iterator[Bucket]:
    """An empty bucket."""
    options = {"api_endpoint": endpoint}
    client = Client(project="-", credentials=AnonymousCredentials(), client_options=options)
    yield client.create_bucket(f"bucket-{next(numbers)}")
    client.close()


@pytest.fixture
def task(bucket, endpoint) -> FileTask:
    return FileTask(capture, {"bucket": bucket.name, "advanced": {"endpoint": endpoint}})
