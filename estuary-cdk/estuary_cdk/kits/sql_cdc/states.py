"""Where each table stands, as it is persisted, and how that follows from what is asked for.

    Pending ─▶ Backfill | UnfilteredBackfill | KeylessBackfill ─▶ Active
            └─────────────────────────────────────────────────▶

A Pending table waits until the stream of changes has caught up, so that nothing of before it was
known is taken for news. A table in one of the backfill modes has rows left to scan. Names and
shapes are those the runtime's states have had before this connector: a task moves over with its
state.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final, Literal

from estuary_cdk.capture import BindingState
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc.resources import TableResource
from estuary_cdk.kits.sql_cdc.tables import Table, key_columns

TableMode = Literal[
    "Ignore",
    "Pending",
    "Backfill",
    "UnfilteredBackfill",
    "KeylessBackfill",
    "Active",
    "Missing",
]
BACKFILLING: Final = frozenset({"Backfill", "UnfilteredBackfill", "KeylessBackfill"})


class TableState(BindingState):
    """Where one table stands.

    `scanned` is the base64 of the last key's packed tuple; `identity` tells the table from another
    that has its name later.
    """

    mode: TableMode = "Pending"
    key_columns: tuple[str, ...] | None = None
    scanned: str | None = None
    metadata: Any = None
    backfilled: int = 0
    identity: str = ""

    @property
    def backfilling(self) -> bool:
        """Whether rows are left to scan."""
        return self.mode in BACKFILLING

    @property
    def position(self) -> bytes | None:
        """The packed tuple scanned last, None at the start."""
        return b64decode(self.scanned) if self.scanned else None

    def advanced(self, position: bytes | None, rows: int, *, done: bool) -> "TableState":
        """Return the state once `rows` more rows are scanned, up to `position`."""
        scanned = None if done or position is None else b64encode(position).decode()
        return self.model_copy(
            update={
                "mode": "Active" if done else self.mode,
                "scanned": scanned,
                "backfilled": self.backfilled + rows,
            }
        )


def activated(
    resource: TableResource, table: Table, key: Sequence[str], *, skip: bool = False
) -> TableState:
    """Return the state in which a table leaves Pending; `key` is the collection's.

    Raises ConfigError for a mode that doesn't go with the table.
    """
    columns = key_columns(key, table)
    mode: TableMode
    match resource.mode:
        case "Only Changes":
            mode = "Active"
        case "Without Primary Key":
            mode = "KeylessBackfill"
        case "Precise":
            mode = "Backfill"
            _judge_precise(resource, table, columns)
        case "Normal":
            mode = "UnfilteredBackfill"
        case _:
            mode = _automatic(resource, table, columns)
    if mode == "UnfilteredBackfill" and columns is None:
        raise ConfigError(
            f"can't backfill {table.name!r} by key: the collection's key {list(key)} isn't made "
            "of its columns",
            hint="choose mode 'Without Primary Key', or a key of columns",
        )
    chosen: TableMode = "Active" if skip else mode
    return TableState(
        mode=chosen,
        key_columns=None if mode == "KeylessBackfill" else columns,
        identity=table.identity,
    )


def _automatic(resource: TableResource, table: Table, columns: Sequence[str] | None) -> TableMode:
    if columns is None:
        return "KeylessBackfill"
    if resource.advanced.additional_backfill_filter or set(columns) - table.predictable:
        return "UnfilteredBackfill"
    return "Backfill"


def _judge_precise(resource: TableResource, table: Table, columns: Sequence[str] | None) -> None:
    if resource.advanced.additional_backfill_filter:
        raise ConfigError(
            f"can't backfill {table.name!r}: backfill filters cannot be used in the 'Precise' "
            "backfill mode",
            hint="choose mode 'Normal'",
        )
    unsorted = sorted(set(columns or ()) - table.sortable)
    if columns is None or unsorted:
        why = f"column {unsorted[0]!r} doesn't sort by its bytes" if unsorted else "it has no key"
        raise ConfigError(
            f"can't backfill {table.name!r} in mode 'Precise': {why}", hint="choose mode 'Normal'"
        )
