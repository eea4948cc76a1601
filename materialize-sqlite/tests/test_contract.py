"""Every promise a materialization makes, kept by this one."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from estuary_cdk.testing.materialize_contract import BOTH_WAYS, Subject
from materialize_sqlite import materialization


def subject(path: Path, *, hard_deletes: bool) -> Subject:
    def rows(table: str) -> Sequence[dict[str, Any]]:
        quoted = '"' + table.replace('"', '""') + '"'
        with closing(apsw.Connection(str(path))) as db:
            found = db.execute(f"SELECT * FROM {quoted}")
            return [
                {name: value for (name, *_), value in zip(found.description, row, strict=True)}
                for row in found
            ]

    return Subject(
        materialization=materialization,
        config=msgspec.json.encode({"path": str(path), "hardDelete": hard_deletes}),
        resource=lambda table, delta: msgspec.json.encode({"table": table, "delta_updates": delta}),
        documents=lambda table: [row["flow_document"].encode() for row in rows(table)],
        rows=rows,
        hard_deletes=hard_deletes,
    )


@pytest.mark.parametrize("name", BOTH_WAYS)
async def test_it_keeps_its_promise(name: str, tmp_path: Path):
    promise, hard_deletes = BOTH_WAYS[name]
    await promise(subject(tmp_path / "data.db", hard_deletes=hard_deletes))
