"""Killed at any named moment, the connector goes on from there, and nothing is lost or stale."""

import signal

import msgspec
import pytest
from stress_processes import SmallRuntime
from stress_tables import Kind, folded

KINDS = (Kind("Precise", "default"), Kind("Normal", "full"))
# Each with its pass: the first moment of a kind, and one in the middle of things.
MOMENTS = (
    "sql_cdc.before-backfill=kill",
    "sql_cdc.before-chunk=kill@4",
    "sql_cdc.after-chunk=kill@3",
    "sql_cdc.after-fence=kill@2",
    "sql_cdc.before-commit=kill",
    "capture.after-checkpoint=kill@4",
    "sql_cdc.before-acknowledge=kill@3",
    "sql_cdc.after-backfill=kill",
)
CHANGES = (
    "update {} set v = -v where id % 5 = 0",
    "delete from {} where id % 7 = 0",
    "insert into {} values ({}, 1, 'new')",
    "update {} set id = -id where id % 11 = 0",
)


@pytest.mark.crash
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_a_failpoint_it_goes_on_from_there(source, moment):
    for kind in KINDS:
        source.run(*kind.statements, f"delete from {kind.name} where id > 300")
    source.advanced["backfill_chunk_size"] = 40
    built = await source.runtime.build(source.config)
    names = [binding.resource_path[-1] for binding in built.bindings]
    modes = {kind.name: kind.mode for kind in KINDS}
    bindings = []
    for name, binding in zip(names, built.bindings, strict=True):
        resource = msgspec.json.decode(binding.resource_config) | {"mode": modes[name]}
        raw = msgspec.Raw(msgspec.json.encode(resource))
        bindings.append(msgspec.structs.replace(binding, resource_config=raw))
    runtime = SmallRuntime(msgspec.structs.replace(built, bindings=bindings))

    def change(number: int) -> None:
        for name in names:
            for statement in CHANGES:
                source.run(statement.format(name, 1001 + 2 * number))

    change(0)
    ended = runtime.run(meanwhile=lambda: change(1), environment={"FAILPOINTS": moment})
    assert ended == -signal.SIGKILL, "the moment never came"
    change(2)
    runtime.run()
    for name, documents in zip(names, runtime.documents, strict=True):
        want = source.run(f"select id, v, long from {name}")
        assert sorted(folded(documents, has_key=True)) == sorted(want), name
