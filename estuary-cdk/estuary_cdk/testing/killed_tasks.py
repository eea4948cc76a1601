"""A task of two tables whose connector is killed: at a moment of its own, or by its runtime.

Three transactions write forty keys each, one further than the last, into a table with standard and
one with delta updates. However it is killed, a second process ends with every row, once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from estuary_cdk.materialize.materialization import Materialization
from estuary_cdk.materialize.runner import serve
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.materialize import MaterializationSpec
from estuary_cdk.testing.connector_process import ConnectorProcess, Died
from estuary_cdk.testing.materialize_runtime import (
    BindingModel,
    Crash,
    Killed,
    MaterializeRuntime,
    Recovery,
)
from estuary_cdk.testing.selection import collection, optional, required

TRANSACTIONS: Final = 3
KEYS: Final = 40
SPEC: Final = collection(
    "acme/users", ["/id"], {"id": required("integer"), "n": optional("integer", "string")}
)


KILLS: Final = (
    ("apply", "applying=kill"),
    ("apply", "applying=kill@2"),
    ("apply", "applied=kill"),
    ("transactions", "fenced=kill"),
    ("transactions", "stored=kill"),
    ("transactions", "stored=kill@3"),
    ("transactions", "committing=kill"),
    ("transactions", "committing=kill@3"),
    ("transactions", "committed=kill"),
    ("transactions", "committed=kill@2"),
    ("messages", "5"),
    ("messages", "9"),
    ("messages", "13"),
    ("messages", "17"),
)
"""When it is killed: a phase, and a failpoint of it or after how many messages of the runtime."""


@dataclass(frozen=True, slots=True)
class KilledTask:
    """The task, at a destination that has none of its tables yet.

    `command` starts the connector, whose failpoints begin with `name`. `rows(table)` returns the
    columns `id` and `n` of a table's rows, the latter as text, sorted.
    """

    materialization: Materialization[Any, Any]
    name: str
    command: Sequence[str]
    config: bytes
    rows: Callable[[str], Sequence[tuple[Any, ...]]]

    async def survives(self, phase: str, moment: str) -> None:
        """Kill it in a phase, then have another go on."""
        match phase:
            case "apply":
                await self._survives_while_it_changes_tables(moment)
            case "transactions":
                await self._survives_while_it_stores(moment)
            case "messages":
                await self._survives_its_runtime(int(moment))
            case _:
                raise ValueError(phase)

    async def _survives_while_it_changes_tables(self, moment: str) -> None:
        """A second process applies the same, and a third nothing."""
        spec = await self._built()
        await self._dies(MaterializeRuntime(self._process(moment).serve).apply(spec))
        await MaterializeRuntime(self._process().serve).apply(spec)
        assert list(self.rows("standard")) == list(self.rows("delta")) == []
        assert not "".join(await self._in_process().apply(spec))

    async def _survives_while_it_stores(self, moment: str) -> None:
        recovery = Recovery()
        spec = await self._applied()
        await self._dies(self._run(self._process(moment), recovery, spec))
        await self._run(self._process(), recovery, spec)
        self._require_exactly_once()

    async def _survives_its_runtime(self, boundary: int) -> None:
        recovery = Recovery()
        spec = await self._applied()
        try:
            await self._run(self._process(), recovery, spec, Crash(boundary))
            raise AssertionError("nothing was killed")
        except Killed:
            pass
        await self._run(self._process(), recovery, spec)
        self._require_exactly_once()

    def _process(self, moment: str = "") -> ConnectorProcess:
        return ConnectorProcess(self.command, f"{self.name}.{moment}" if moment else "")

    def _in_process(self) -> MaterializeRuntime:
        # Starting another process takes most of a test's time.
        return MaterializeRuntime(lambda *streams: serve(self.materialization, *streams))

    async def _built(self) -> MaterializationSpec:
        def model(table: str, *, delta: bool) -> BindingModel:
            return BindingModel(SPEC, encode_json({"table": table, "delta_updates": delta}))

        models = [model("standard", delta=False), model("delta", delta=True)]
        return await self._in_process().build(self.config, models)

    async def _applied(self) -> MaterializationSpec:
        spec = await self._built()
        await self._in_process().apply(spec)
        return spec

    async def _dies(self, running: Any) -> None:
        try:
            await running
        except Died as died:
            if "status -9" not in str(died):
                raise
        else:
            raise AssertionError("nothing was killed")

    async def _run(
        self,
        process: ConnectorProcess,
        recovery: Recovery,
        spec: MaterializationSpec,
        crash: Crash | None = None,
    ) -> None:
        """Run the transactions that the destination hasn't committed yet."""
        runtime = MaterializeRuntime(process.serve, recovery)
        async with runtime.session(spec, crash=crash) as session:
            done = int(msgspec.json.decode(recovery.checkpoint).get("n", 0))
            for transaction in range(done + 1, TRANSACTIONS + 1):
                keys = range(transaction, transaction + KEYS)
                documents = [(b, _document(transaction, key)) for b in (0, 1) for key in keys]
                await session.bulk(documents, b'{"n":%d}' % transaction)

    def _require_exactly_once(self) -> None:
        delta = sorted((k, str(n)) for n in range(1, TRANSACTIONS + 1) for k in range(n, n + KEYS))
        assert list(self.rows("delta")) == delta
        assert list(self.rows("standard")) == sorted(dict(delta).items())


def _document(transaction: int, key: int) -> bytes:
    return encode_json({"id": key, "n": transaction})
