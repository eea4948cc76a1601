"""Transactions whose changes were streamed before queries could see them.

A commit is streamed as soon as it is on disk; a moment later the server lets queries see it. In
between a query answers as if it hadn't happened. Whoever has heard of a change and asks for its row
waits for that moment: otherwise a change that the scan was left to find would be found by nobody.
"""

import time
from collections import deque
from typing import Any, Final

from psycopg import Connection

from estuary_cdk.errors import TransientError

REMEMBERED_MAX: Final = 10_000
TIMEOUT_S: Final = 30.0

# What is in progress: the transactions listed, and all from the upper end on.
_SNAPSHOT: Final = b"""
select txid_snapshot_xmax(s) & 4294967295,
       array(select x & 4294967295 from txid_snapshot_xip(s) x)
from txid_current_snapshot() s
"""
_HALF: Final = 1 << 31
_ALL: Final = 1 << 32


def _invisible(ids: set[int], end: int, listed: list[int]) -> set[int]:
    """Return those that a snapshot doesn't see; IDs are compared as on a circle."""
    return {each for each in ids if each in listed or (each - end) % _ALL < _HALF}


class Streamed:
    """Remembers the transactions that were streamed, the latest of them."""

    def __init__(self) -> None:
        self._ids: deque[int] = deque(maxlen=REMEMBERED_MAX)

    def add(self, transaction_id: int) -> None:
        """Remember a transaction by its 32-bit ID."""
        self._ids.append(transaction_id)

    def settle(self, connection: Connection[Any]) -> None:
        """Return once queries see what was streamed so far.

        Raises TransientError where that takes too long.
        """
        waited = set(self._ids)
        deadline = time.monotonic() + TIMEOUT_S
        while waited:
            [(end, listed)] = connection.execute(_SNAPSHOT).fetchall()
            waited = _invisible(waited, end, listed)
            if not waited:
                break
            if time.monotonic() > deadline:
                raise TransientError(
                    "can't read rows: transactions that were streamed are still not visible",
                    count=len(waited),
                )
        self._ids.clear()
