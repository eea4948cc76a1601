"""Word from a store that files have come, changed or gone: they needn't be listed to be found.

Word may be lost, late, doubled or out of order. It only tells where to look: what is done about a
file is decided as in a sweep, and a sweep now and then finds what no word came of.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

SWEEP_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Notice:
    """Paths of files to look at.

    `settle` is to be awaited once what they held is durable; it takes the paths that concern
    another shard, which has to hear of them too.
    """

    paths: Sequence[str]
    settle: Callable[[Sequence[str]], Awaitable[None]]


class Notices(Protocol):
    """Where word comes from."""

    async def check(self) -> None:
        """Raise what would keep word from coming; nobody else notices that it was asked."""
        ...

    async def next(self) -> Notice:
        """Wait a few seconds at most for word; without any the notice has no paths."""
        ...
