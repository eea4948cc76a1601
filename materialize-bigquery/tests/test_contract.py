"""Every promise a materialization makes, kept by this one."""

import msgspec
import pytest

from estuary_cdk.testing.materialize_contract import PROMISES, Promise, Subject
from materialize_bigquery import materialization


def subject(dataset, *, hard_deletes: bool) -> Subject:
    return Subject(
        materialization=materialization,
        config=msgspec.json.encode(dataset.settings(hardDelete=hard_deletes)),
        resource=lambda table, delta: msgspec.json.encode({"table": table, "delta_updates": delta}),
        documents=dataset.documents,
        rows=dataset.rows,
        hard_deletes=hard_deletes,
        fences=False,
    )


# What depends on how rows are deleted is tried both ways.
BOTH = {"deletes_rows", "lets_deleted_rows_return", "ignores_unknown_deletions"}
# Hundreds of sessions, dozens of tables: `test_crashes` and `test_hostile_names` are cheaper.
ELSEWHERE = {"survives_crashes", "takes_hostile_names"}
CASES = [
    pytest.param(promise, hard, id=f"{promise.__name__}-{'hard' if hard else 'soft'}")
    for promise in PROMISES
    for hard in (False, True)
    if promise.__name__ not in ELSEWHERE and (hard is False or promise.__name__ in BOTH)
]


@pytest.mark.parametrize(("promise", "hard_deletes"), CASES)
async def test_it_keeps_its_promise(promise: Promise, hard_deletes: bool, dataset):
    await promise(subject(dataset, hard_deletes=hard_deletes))
