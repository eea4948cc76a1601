"""SQL destinations from parts: a dialect is a value, statements are functions, rows go in bulk."""

from estuary_cdk.kits.sql.alterations import alterations
from estuary_cdk.kits.sql.checkpoints import (
    Connection,
    Fence,
    commit_checkpoint,
    install_fence,
    shut_out,
)
from estuary_cdk.kits.sql.csv_rows import csv_rows
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
from estuary_cdk.kits.sql.transactor import Session, SqlTransactor, Strategy

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
    "Session",
    "SqlTransactor",
    "Strategy",
    "Target",
    "TargetColumn",
    "TypeTable",
    "alterations",
    "commit_checkpoint",
    "csv_rows",
    "flat",
    "install_fence",
    "on_conflict",
    "question_mark",
    "quoted",
    "row_reader",
    "shut_out",
    "target",
]
