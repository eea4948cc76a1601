"""SQL destinations from parts: a dialect is a value, statements are functions, rows go in bulk."""

from estuary_cdk.kits.sql.checkpoints import Connection, Fence, commit_checkpoint, install_fence
from estuary_cdk.kits.sql.dialect import (
    ANSI,
    ColumnType,
    Dialect,
    TypeTable,
    on_conflict,
    question_mark,
    quoted,
)
from estuary_cdk.kits.sql.flattening import Flat, Kind, flat
from estuary_cdk.kits.sql.readings import BeyondRangeError, Reading
from estuary_cdk.kits.sql.rows import row_reader
from estuary_cdk.kits.sql.tables import Target, TargetColumn, target

__all__ = [
    "ANSI",
    "BeyondRangeError",
    "ColumnType",
    "Connection",
    "Dialect",
    "Fence",
    "Flat",
    "Kind",
    "Reading",
    "Target",
    "TargetColumn",
    "TypeTable",
    "commit_checkpoint",
    "flat",
    "install_fence",
    "on_conflict",
    "question_mark",
    "quoted",
    "row_reader",
    "target",
]
