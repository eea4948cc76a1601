"""A bucket of a private service, and a task that captures it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import botocore.session
import pytest

from estuary_cdk.testing.file_task import FileTask
from estuary_cdk.testing.s3 import s3
from source_s3 import capture

SECRET = "correct horse battery staple"
KEY = {
    "auth_type": "AWSAccessKey",
    "aws_access_key_id": "someone",
    "aws_secret_access_key": SECRET,
}
numbers = count()


@dataclass(kw_only=True)
class Bucket(FileTask):
    """A bucket and the task that captures it."""

    client: Any

    @property
    def name(self) -> str:
        return str(self.config["bucket"])

    @property
    def endpoint(self) -> str:
        return str(self.config["advanced"]["endpoint"])

    def put(self, key: str, content: bytes, **options: Any) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content, **options)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with s3() as address:
        yield address


@pytest.fixture
def bucket(endpoint) -> Iterator[Bucket]:
    client = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="someone",
        aws_secret_access_key=SECRET,
    )
    name = f"bucket-{next(numbers)}"
    client.create_bucket(Bucket=name)
    config = {"bucket": name, "credentials": KEY, "advanced": {"endpoint": endpoint}}
    yield Bucket(capture, config, client=client)
    client.close()
