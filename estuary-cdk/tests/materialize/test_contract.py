"""The in-memory materialization keeps the contract, in each of the three patterns."""

import pytest
from msgspec import json

from estuary_cdk.testing.materialize_contract import PROMISES, Subject
from estuary_cdk.testing.materialize_values import takes_many_keys
from estuary_cdk.testing.memory_destination import (
    DirectTransactor,
    MemoryServer,
    RemoteTransactor,
    StagingTransactor,
    memory_materialization,
)

PATTERNS = {"remote": RemoteTransactor, "staging": StagingTransactor, "direct": DirectTransactor}


def memory_subject(pattern, *, hard_deletes):
    server = MemoryServer()

    def rows(table):
        found = server.tables[(table,)]
        return [
            {name: json.decode(row.get(name, b"null")) for name in found.columns}
            for row in found.rows.values()
        ]

    def documents(table):
        return [row["flow_document"] for row in server.tables[(table,)].rows.values()]

    return Subject(
        materialization=memory_materialization(server, PATTERNS[pattern]),
        config=json.encode({"hardDelete": hard_deletes}),
        resource=lambda table, delta: json.encode({"table": table, "delta_updates": delta}),
        documents=documents,
        rows=rows,
        hard_deletes=hard_deletes,
        exactly_once=pattern != "direct",
        fences=pattern == "remote",
    )


# Many keys are the runner's business, not a pattern's: once is enough.
CASES = [
    pytest.param(promise, pattern, hard, id=f"{promise.__name__}-{pattern}-{kind}")
    for pattern in PATTERNS
    for kind, hard in (("soft", False), ("hard", True))
    for promise in PROMISES
    if promise is not takes_many_keys or (pattern, hard) == ("remote", False)
]


@pytest.mark.parametrize(("promise", "pattern", "hard_deletes"), CASES)
async def test_it_keeps_its_promises(promise, pattern, hard_deletes):
    await promise(memory_subject(pattern, hard_deletes=hard_deletes))
