"""A site with files on a loopback port, and a runtime that keeps state and collections."""

import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import pytest
import trustme
from syrupy.extensions.json import JSONSnapshotExtension

from estuary_cdk.kits.files import csv_rows, guessing, outbox
from estuary_cdk.protocol.capture import CaptureBinding
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.fake_http import FakeFile, FakeHttp, loopback
from estuary_cdk.testing.runtime import CaptureRuntime, Session, never, reduced
from source_http import capture


@dataclass
class Site:
    """Files on a real port and a task that captures them, run after run."""

    url: str
    http: FakeHttp
    clock: FakeClock = field(default_factory=FakeClock)
    streams: list[dict[str, Any]] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    key: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    documents: list[tuple[int, bytes]] = field(default_factory=list)

    def file(self, name: str, content: bytes, **options: Any) -> FakeFile:
        """Serve a file; its stream options are added to the config by `stream`."""
        served = FakeFile(content, **options)
        self.http.routes[f"GET /{name}"] = served
        return served

    def stream(self, name: str, path: str | None = None, **options: Any) -> None:
        address = path if path and "://" in path else f"{self.url}/{path or name}"
        self.streams.append({"name": name, "url": address, **options})

    @property
    def config(self) -> dict[str, Any]:
        return {"streams": self.streams}

    @property
    def runtime(self) -> CaptureRuntime:
        return CaptureRuntime(partial(capture.serve, clock=self.clock))

    async def run(self, until=never, *, kill: bool = False) -> Session:
        """Open the capture where its last run left it; keep what it commits."""
        built = await self.runtime.build(self.config)
        built = msgspec.structs.replace(built, bindings=[*map(self._set, built.bindings)])
        self.http.requests.clear()
        runtime = self.runtime
        try:
            return await runtime.run(built, state=self.state, until=until, kill=kill)
        except ExceptionGroup as group:
            raise only(group) from group
        finally:
            [session] = runtime.sessions
            self.state = session.state
            self.documents += session.documents
            self.built = built

    def _set(self, binding: CaptureBinding) -> CaptureBinding:
        settings = {**msgspec.json.decode(binding.resource_config), **self.resources}
        raw = msgspec.Raw(msgspec.json.encode(settings))
        collection = binding.collection
        if self.key:
            collection = msgspec.structs.replace(collection, key=self.key)
        return msgspec.structs.replace(binding, resource_config=raw, collection=collection)

    def collection(self, binding: int = 0) -> list[dict[str, Any]]:
        """Return a collection's documents in order of their keys."""
        return list(reduced(self.documents, self.built)[binding].values())


def only(group: BaseException) -> BaseException:
    """Return the one error inside nested groups."""
    while isinstance(group, ExceptionGroup):
        [group] = group.exceptions
    return group


@pytest.fixture
def small_steps(monkeypatch):
    """Checkpoints after few documents, so that small files have many."""
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 1000)
    monkeypatch.setattr(csv_rows, "SAMPLE_CHARS", 1 << 14)
    monkeypatch.setattr(guessing, "SAMPLE_BYTES", 1 << 14)
    monkeypatch.setattr(csv_rows, "BATCH_CHARS", 1 << 13)


@pytest.fixture
async def site() -> AsyncGenerator[Site]:
    http = FakeHttp({})
    async with loopback(http) as url:
        yield Site(url, http)


@pytest.fixture
async def tls_site() -> AsyncGenerator[Site]:
    """A site whose certificate nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    http = FakeHttp({})
    async with loopback(http, context) as url:
        yield Site(url, http)


@pytest.fixture
def snapshot(snapshot):
    return snapshot.use_extension(JSONSnapshotExtension)
