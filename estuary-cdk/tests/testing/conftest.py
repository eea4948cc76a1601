"""One BigQuery service for all tests of a run, and a dataset of its own for each."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as client_library

from estuary_cdk.testing.bigquery import BigQuery, bigquery

Client = client_library.Client


@pytest.fixture(scope="session")
def service() -> Iterator[BigQuery]:
    with bigquery() as running:
        yield running


@pytest.fixture
def client(service: BigQuery) -> Iterator[Client]:
    with Client(
        "test", AnonymousCredentials(), client_options={"api_endpoint": service.url}
    ) as connected:
        yield connected


@pytest.fixture
def dataset(client: Client) -> str:
    name = f"d{uuid4().hex}"
    made = client_library.Dataset(f"test.{name}")
    made.location = "EU"
    client.create_dataset(made)
    return name
