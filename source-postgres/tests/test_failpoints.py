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


class Killing:
    """Two tables, the runtime that captures them, and changes to make while it does."""

    def __init__(self, source, built) -> None:
        self._source = source
        self._names = [binding.resource_path[-1] for binding in built.bindings]
        self.runtime = SmallRuntime(built)

    def change(self, number: int) -> None:
        for name in self._names:
            for statement in CHANGES:
                self._source.run(statement.format(name, 1001 + 2 * number))

    def judge(self) -> None:
        """Run until all is captured, and compare."""
        self.change(2)
        self.runtime.run()
        for name, documents in zip(self._names, self.runtime.documents, strict=True):
            want = self._source.run(f"select id, v, long from {name}")
            assert sorted(folded(documents, has_key=True)) == sorted(want), name


@pytest.fixture
async def killing(source) -> Killing:
    for kind in KINDS:
        source.run(*kind.statements, f"delete from {kind.name} where id > 300")
    source.advanced["backfill_chunk_size"] = 40
    built = await source.runtime.build(source.config)
    modes = {kind.name: kind.mode for kind in KINDS}
    bindings = []
    for binding in built.bindings:
        mode = modes[binding.resource_path[-1]]
        resource = msgspec.json.decode(binding.resource_config) | {"mode": mode}
        raw = msgspec.Raw(msgspec.json.encode(resource))
        bindings.append(msgspec.structs.replace(binding, resource_config=raw))
    return Killing(source, msgspec.structs.replace(built, bindings=bindings))


@pytest.mark.crash
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_at_a_failpoint_it_goes_on_from_there(killing, moment):
    killing.change(0)
    ended = killing.runtime.run(
        meanwhile=lambda: killing.change(1), environment={"FAILPOINTS": moment}
    )
    assert ended == -signal.SIGKILL, "the moment never came"
    killing.judge()


@pytest.mark.crash
async def test_what_the_runtime_has_not_committed_comes_again(killing):
    killing.runtime.run(commits_max=3)
    killing.change(0)
    killing.runtime.run()
    killing.change(1)
    killing.runtime.run(commits_max=0)
    killing.judge()
