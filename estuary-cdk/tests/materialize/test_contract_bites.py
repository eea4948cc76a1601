"""The contract finds materializations that break it."""

import pytest
from msgspec import json

from estuary_cdk.errors import CdkError
from estuary_cdk.materialize import Loaded
from estuary_cdk.testing.materialize_contract import Subject
from estuary_cdk.testing.materialize_crashes import (
    rolls_back_broken_transactions,
    shuts_out_zombies,
    splits_ranges,
    survives_crashes,
)
from estuary_cdk.testing.materialize_tables import (
    adds_columns,
    applies_once,
    deletes_rows,
    loads_what_it_stored,
)
from estuary_cdk.testing.materialize_values import returns_documents_verbatim
from estuary_cdk.testing.memory_destination import (
    DirectTransactor,
    MemoryServer,
    RemoteTransactor,
    StagingTransactor,
    memory_materialization,
)


class Unfenced(RemoteTransactor):
    def commit(self, checkpoint):
        self._fence = self._own.fence
        super().commit(checkpoint)


class Forgetful(RemoteTransactor):
    def fence(self):
        super().fence()
        return


class Orphaning(RemoteTransactor):
    def fence(self):
        found = super().fence()
        return found if self._shard.key_end == 0xFFFFFFFF and not self._shard.key_begin else None


class Reformatting(RemoteTransactor):
    def __init__(self, *args):
        super().__init__(*args)
        loaded = self.loaded

        def reformatted():
            for each in loaded():
                documents = [json.encode(json.decode(one)) for one in each.documents]
                yield Loaded(each.binding, documents)

        self.loaded = reformatted


class Early(RemoteTransactor):
    """Writes before it commits."""

    def store(self, batch):
        self._lookups.server.write(self._lookups.changes(batch))


class Blind(RemoteTransactor):
    def __init__(self, *args):
        super().__init__(*args)
        self.loaded = list


class Unrepeatable(StagingTransactor):
    """Counts on being called once."""

    def apply(self, staged):
        for name in staged.values():
            changes = self._lookups.server.stages.pop(name.decode())
            self._lookups.server.write(changes)


class Lazy(StagingTransactor):
    def apply(self, staged): ...


def subject_of(server, transactor, *, hard_deletes=False):
    def documents(table):
        return [row["flow_document"] for row in server.tables[(table,)].rows.values()]

    def rows(table):
        return [
            {name: json.decode(row.get(name, b"null")) for name in server.tables[(table,)].columns}
            for row in server.tables[(table,)].rows.values()
        ]

    return Subject(
        materialization=memory_materialization(server, transactor),
        config=b"{}",
        resource=lambda table, delta: json.encode({"table": table, "delta_updates": delta}),
        documents=documents,
        rows=rows,
        hard_deletes=hard_deletes,
        fences=issubclass(transactor, RemoteTransactor),
    )


@pytest.mark.parametrize(
    ("promise", "transactor"),
    [
        (shuts_out_zombies, Unfenced),
        (survives_crashes, Forgetful),
        (splits_ranges, Orphaning),
        (returns_documents_verbatim, Reformatting),
        (survives_crashes, Early),
        (loads_what_it_stored, Blind),
        (survives_crashes, Unrepeatable),
        (loads_what_it_stored, Lazy),
        (survives_crashes, DirectTransactor),
    ],
    ids=lambda value: value.__name__,
)
async def test_a_broken_transactor_is_found(promise, transactor):
    with pytest.raises((AssertionError, CdkError, ExceptionGroup, KeyError)):
        await promise(subject_of(MemoryServer(), transactor))


async def test_a_connector_that_keeps_deleted_rows_is_found():
    with pytest.raises(AssertionError):
        await deletes_rows(subject_of(MemoryServer(), RemoteTransactor, hard_deletes=True))


@pytest.mark.parametrize("promise", [adds_columns, applies_once])
async def test_a_destination_that_forgets_its_tables_is_found(promise, monkeypatch):
    monkeypatch.setattr(
        "estuary_cdk.testing.memory_destination.MemoryDestination.tables",
        lambda _self, paths: [None for _ in paths],
    )
    with pytest.raises((AssertionError, CdkError, KeyError)):
        await promise(subject_of(MemoryServer(), RemoteTransactor))


async def test_rows_of_a_broken_transaction_are_found():
    with pytest.raises(AssertionError):
        await rolls_back_broken_transactions(subject_of(MemoryServer(), Early))
