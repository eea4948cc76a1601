"""What a check of a materialization gets to work with: a connector and a fresh destination."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from estuary_cdk.materialize import Materialization
from estuary_cdk.materialize.runner import serve
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.flow import CollectionSpec
from estuary_cdk.protocol.materialize import MaterializationSpec
from estuary_cdk.testing.materialize_runtime import (
    BindingModel,
    Documents,
    MaterializeRuntime,
    Recovery,
)
from estuary_cdk.testing.selection import collection, optional, required


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A connector and a fresh destination of its own.

    - `resource(table, delta_updates)` is the config of a binding for a table.
    - `documents(table)` returns the root documents stored in it, in any order.
    - `rows(table)` returns its rows, in any order: column name to value, None for null.
    - `config` asks for hard deletes if `hard_deletes`.
    - `exactly_once` unless a crash may store documents again; `fences` if the destination keeps
      the checkpoint and shuts out older instances.
    """

    materialization: Materialization[Any, Any]
    config: bytes
    resource: Callable[[str, bool], bytes]
    documents: Callable[[str], Sequence[bytes]]
    rows: Callable[[str], Sequence[dict[str, Any]]]
    hard_deletes: bool
    exactly_once: bool = True
    fences: bool = True

    def runtime(
        self, recovery: Recovery | None = None, *, packed_only: bool = False
    ) -> MaterializeRuntime:
        """Return a runtime of this connector."""
        return MaterializeRuntime(
            lambda reader, writer: serve(self.materialization, reader, writer),
            recovery,
            packed_only=packed_only,
        )

    def model(
        self, spec: CollectionSpec, table: str, *, delta_updates: bool = False, backfill: int = 0
    ) -> BindingModel:
        """Return a binding of a collection to a table."""
        return BindingModel(spec, self.resource(table, delta_updates), backfill)

    async def ready(
        self, runtime: MaterializeRuntime, *models: BindingModel
    ) -> MaterializationSpec:
        """Build bindings and apply them."""
        spec = await runtime.build(self.config, models)
        await runtime.apply(spec)
        return spec


Promise = Callable[[Subject], Awaitable[None]]

USERS: Final = collection(
    "acme/users",
    ["/id"],
    {"id": required("integer"), "name": optional("string", "null"), "n": optional("integer")},
)


def user(key: int, name: str | None = None, **more: Any) -> tuple[int, bytes]:
    """Return a document of the first binding."""
    return 0, encode_json({"id": key, "name": name, **more})


def deleted(key: int) -> tuple[int, bytes]:
    """Return a document of the first binding that tells of a deletion."""
    return 0, encode_json({"id": key, "_meta": {"op": "d"}})


def checkpoint(number: int) -> bytes:
    """Return a runtime checkpoint."""
    return b'{"sources":{"acme/users;a":{"readThrough":"%d"}}}' % number


def number_of(text: bytes) -> int:
    """Return the number that `checkpoint` made a checkpoint of, 0 for none."""
    sources = msgspec.json.decode(text).get("sources", {})
    return int(sources.get("acme/users;a", {}).get("readThrough", 0))


async def stored(subject: Subject, table: str, *transactions: Documents) -> MaterializationSpec:
    """Run transactions into a new table of users."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, table))
    async with runtime.session(spec) as session:
        for documents in transactions:
            await session.transaction(documents)
    return spec


def require_documents(subject: Subject, table: str, expected: Documents) -> None:
    """Raise AssertionError unless a table holds exactly these documents."""
    found, wanted = sorted(subject.documents(table)), sorted(document for _, document in expected)
    assert found == wanted, f"found {found!r}, expected {wanted!r}"
