"""Writing collections into destinations: what an author describes, and what the kit does of it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estuary_cdk.materialize.bindings import Binding, Column, Field, Path, Shard, Table
    from estuary_cdk.materialize.changes import (
        AddColumns,
        AllowRepeats,
        Change,
        CreateTable,
        MigrateColumn,
        RecreateTable,
        RelaxColumns,
        TruncateTable,
    )
    from estuary_cdk.materialize.destination import Destination, Fit, Forbidden, Rules
    from estuary_cdk.materialize.materialization import Materialization
    from estuary_cdk.materialize.patterns import (
        AtLeastOnce,
        Keys,
        Loaded,
        PostCommitApply,
        RemoteAuthoritative,
        Stores,
        Transactor,
    )
    from estuary_cdk.materialize.schedule import SyncSchedule
else:
    from estuary_cdk.exports import exports

    __getattr__ = exports(
        __name__,
        {
            "bindings": ("Binding", "Column", "Field", "Path", "Shard", "Table"),
            "changes": (
                "AddColumns",
                "AllowRepeats",
                "Change",
                "CreateTable",
                "MigrateColumn",
                "RecreateTable",
                "RelaxColumns",
                "TruncateTable",
            ),
            "destination": ("Destination", "Fit", "Forbidden", "Rules"),
            "materialization": ("Materialization",),
            "patterns": (
                "AtLeastOnce",
                "Keys",
                "Loaded",
                "PostCommitApply",
                "RemoteAuthoritative",
                "Stores",
                "Transactor",
            ),
            "schedule": ("SyncSchedule",),
        },
    )

__all__ = [
    "AddColumns",
    "AllowRepeats",
    "AtLeastOnce",
    "Binding",
    "Change",
    "Column",
    "CreateTable",
    "Destination",
    "Field",
    "Fit",
    "Forbidden",
    "Keys",
    "Loaded",
    "Materialization",
    "MigrateColumn",
    "Path",
    "PostCommitApply",
    "RecreateTable",
    "RelaxColumns",
    "RemoteAuthoritative",
    "Rules",
    "Shard",
    "Stores",
    "SyncSchedule",
    "Table",
    "Transactor",
    "TruncateTable",
]
