"""Which documents of a collection are read: those of some partitions, or of some time.

Collections aren't stored by partition: what isn't meant is read and left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress
from typing import Final

from flow_local.collections.identities import identities
from flow_local.collections.uuids import ticks_at, ticks_of
from flow_local.schema.extraction import Extractor

UUID_POINTER: Final = "/_meta/uuid"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is meant: of each pointer in `include` one of its values, and none of `exclude`.

    Values are JSON. Documents that were published before `not_before` or after `not_after` aren't
    meant; None is no bound.
    """

    include: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    exclude: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def selects(self) -> bool:
        """Whether there may be documents that aren't meant."""
        times = (self.not_before, self.not_after)
        return bool(self.include or self.exclude) or any(time is not None for time in times)

    def chosen(self, documents: Sequence[bytes]) -> list[bytes]:
        """Return the documents that are meant, in order."""
        left = list(documents)
        for wanted, partitions in ((True, self.include), (False, self.exclude)):
            for pointer, values in partitions.items():
                left = list(compress(left, _having(left, pointer, values, wanted=wanted)))
        if self.not_before is not None or self.not_after is not None:
            left = list(compress(left, self._timely(left)))
        return left

    def _timely(self, documents: Sequence[bytes]) -> list[bool]:
        since = 0 if self.not_before is None else ticks_of(self.not_before)
        until = None if self.not_after is None else ticks_of(self.not_after)
        found = []
        for (uuid,) in Extractor([UUID_POINTER]).rows(documents):
            ticks = ticks_at(uuid)
            found.append(ticks >= since and (until is None or ticks <= until))
        return found


def _having(
    documents: Sequence[bytes], pointer: str, values: Sequence[bytes], *, wanted: bool
) -> list[bool]:
    if not documents:
        return []
    meant = {identity for value in values for identity in identities([(value,)])}
    rows = Extractor([pointer]).rows(documents)
    return [(identity in meant) == wanted for identity in identities(rows)]
