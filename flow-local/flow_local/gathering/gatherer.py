"""Where a session's transactions are held: each in this process or apart, as is asked for."""

from collections.abc import Sequence

from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.gathering.apart import Process
from flow_local.gathering.transaction import Gathering, Here, compiled


class Gatherer:
    """Makes the transactions of one session with a built materialization.

    `packs_values` adds values in their packed form to every store. With `loads_all`, no key is
    taken to be new because it is greater than all that were stored.
    """

    def __init__(self, spec: MaterializationSpec, *, packs_values: bool, loads_all: bool) -> None:
        self._how = compiled(spec, packs_values=packs_values, loads_all=loads_all)
        self._process = Process(spec, packs_values=packs_values, loads_all=loads_all)

    def begin(self, max_keys: Sequence[bytes], *, apart: bool = False) -> Gathering:
        """Return a transaction without documents.

        `max_keys` are the greatest keys that will have been stored before it, one of each binding.
        """
        return self._process.begin(max_keys) if apart else Here(self._how, max_keys)

    def keys_of(self, binding: int, documents: Sequence[bytes]) -> list[tuple[bytes, ...]]:
        """Return the values of each document's key, as JSON."""
        return self._how.fields[binding].keys.rows(documents)

    async def rest(self) -> None:
        """Give back what only much work needs, while no transaction holds anything."""
        await self._process.end()

    async def close(self) -> None:
        """Give everything back."""
        await self._process.close()
