"""Every promise a materialization makes, kept by this one."""

import msgspec
import pytest

from estuary_cdk.testing.materialize_contract import PROMISES, Promise, Subject
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


# Both ways of deleting keep every promise; the two that take long are tried in one way each.
LONG = {"survives_crashes": True, "takes_many_keys": False}
CASES = [
    pytest.param(promise, hard, id=f"{promise.__name__}-{'hard' if hard else 'soft'}")
    for promise in PROMISES
    for hard in (False, True)
    if LONG.get(promise.__name__, hard) is hard
]


@pytest.mark.parametrize(("promise", "hard_deletes"), CASES)
async def test_it_keeps_its_promise(promise: Promise, hard_deletes: bool, database):
    await promise(subject(database, hard_deletes=hard_deletes))
