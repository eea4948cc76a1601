"""Every promise a materialization makes, kept by this one."""

import msgspec
import pytest

from estuary_cdk.testing.materialize_contract import BOTH_WAYS, Subject
from materialize_postgres import materialization


def subject(database, *, hard_deletes: bool) -> Subject:
    return Subject(
        materialization=materialization,
        config=msgspec.json.encode(database.settings(hardDelete=hard_deletes)),
        resource=lambda table, delta: msgspec.json.encode({"table": table, "delta_updates": delta}),
        documents=lambda table: [row["flow_document"].encode() for row in database.rows(table)],
        rows=database.rows,
        hard_deletes=hard_deletes,
    )


@pytest.mark.parametrize("name", BOTH_WAYS)
async def test_it_keeps_its_promise(name: str, database):
    promise, hard_deletes = BOTH_WAYS[name]
    await promise(subject(database, hard_deletes=hard_deletes))
