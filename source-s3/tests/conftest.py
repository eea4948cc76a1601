"""A bucket of a private service, and a runtime that keeps state and collections."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import botocore.session
import msgspec
import pytest

from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.runtime import CaptureRuntime, Session, never, reduced
from estuary_cdk.testing.s3 import s3
from source_s3 import capture

SECRET = "correct horse battery staple"
KEY = {
    "auth_type": "AWSAccessKey",
    "aws_access_key_id": "someone",
    "aws_secret_access_key": SECRET,
}
numbers = count()


@dataclass
class Bucket:
    """A bucket and a task that captures it, run after run."""

    endpoint: str
    name: str
    client: Any
    extra: dict[str, Any] = field(default_factory=dict)
    advanced: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    key: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)
    state: dict[str, Any] = field(default_factory=dict)
    documents: list[tuple[int, bytes]] = field(default_factory=list)

    def put(self, key: str, content: bytes, **options: Any) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content, **options)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "bucket": self.name,
            "credentials": KEY,
            "advanced": {"endpoint": self.endpoint, **self.advanced},
            **self.extra,
        }

    @property
    def runtime(self) -> CaptureRuntime:
        return CaptureRuntime(partial(capture.serve, clock=self.clock))

    async def run(self, until=never, *, kill: bool = False) -> Session:
        """Open the capture where its last run left it; keep what it commits."""
        built = await self.runtime.build(self.config)
        self.built = msgspec.structs.replace(built, bindings=[*map(self._set, built.bindings)])
        runtime = self.runtime
        try:
            return await runtime.run(self.built, state=self.state, until=until, kill=kill)
        except ExceptionGroup as group:
            raise only(group) from group
        finally:
            [session] = runtime.sessions
            self.state = session.state
            self.documents += session.documents

    def _set(self, binding):
        settings = {**msgspec.json.decode(binding.resource_config), **self.resources}
        collection = binding.collection
        if self.key:
            collection = msgspec.structs.replace(collection, key=self.key)
        raw = msgspec.Raw(msgspec.json.encode(settings))
        return msgspec.structs.replace(binding, resource_config=raw, collection=collection)

    def collection(self, binding: int = 0) -> list[dict[str, Any]]:
        return list(reduced(self.documents, self.built)[binding].values())


def only(group: BaseException) -> BaseException:
    """Return the one error inside nested groups."""
    while isinstance(group, ExceptionGroup):
        [group] = group.exceptions
    return group


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
    yield Bucket(endpoint, name, client)
    client.close()
