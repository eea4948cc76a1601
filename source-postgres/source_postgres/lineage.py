"""Which server's log a position is in: the server's identifier, and the timeline of its log.

A standby that is promoted goes on with a timeline of its own, from where its log ended. A position
that was read beyond that, on the old primary, is in a log that is no more: the new one has other
changes there, which would be skipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection

from source_postgres.config import Config
from source_postgres.connecting import connect
from source_postgres.documents import lsn_number, lsn_text
from source_postgres.slots import SlotLostError


@dataclass(frozen=True, slots=True)
class Lineage:
    """A server's identifier, its log's timeline, and where the timelines before it ended."""

    system: str
    timeline: int
    ends: Mapping[int, int]
    standby: bool = False

    @property
    def name(self) -> str:
        """What is kept of it beside a position; of a standby only the identifier.

        A standby goes over to another timeline while it is captured, with its primary or as one:
        what was read after that would be taken for lost.
        """
        return f"{self.system}/{'' if self.standby else self.timeline}"

    def judge(self, recorded: str, position: int) -> None:
        """Raise SlotLostError unless a position of a recorded lineage is in this one too."""
        if not recorded:
            return
        system, _, timeline = recorded.partition("/")
        if system != self.system:
            raise _lost(position, "it was read from another server, or from before an upgrade")
        if timeline in {"", str(self.timeline)}:
            return
        end = self.ends.get(int(timeline)) if timeline.isdigit() else None
        if end is None:
            raise _lost(position, f"it was read from timeline {timeline}, which isn't its past")
        if position > end:
            raise _lost(
                position,
                f"the standby that is the server now was promoted at {lsn_text(end)}, before all "
                "that was captured had reached it",
            )


def _lost(position: int, why: str) -> SlotLostError:
    return SlotLostError(
        f"can't resume from {lsn_text(position)}: {why}, so changes may be lost",
        hint="backfill all bindings of the capture, or set advanced.on_slot_loss to 'backfill'",
    )


def read_lineage(config: Config) -> Lineage:
    """Ask a server for its lineage."""
    with connect(config, replication=True) as connection:
        system, timeline, *_ = _answer(connection, b"IDENTIFY_SYSTEM")
        number = int(timeline)
        ends = {}
        if number > 1:
            _, history = _answer(connection, b"TIMELINE_HISTORY %d" % number)
            for line in history.decode(errors="replace").splitlines():
                parts = line.split()
                if len(parts) >= 2 and parts[0].isdigit():
                    ends[int(parts[0])] = lsn_number(parts[1])
        [standby] = _answer(connection, b"select pg_is_in_recovery()")
        return Lineage(system.decode(), number, ends, standby == b"t")


def _answer(connection: Connection[Any], command: bytes) -> list[bytes]:
    result = connection.pgconn.exec_(command)
    if result.ntuples != 1:
        raise psycopg.errors.error_from_result(result)
    return [result.get_value(0, column) or b"" for column in range(result.nfields)]
