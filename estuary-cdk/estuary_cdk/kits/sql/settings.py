"""Settings that destinations of tables have in common, each the value of a field of a config."""

from typing import Any, Final

from estuary_cdk.config import setting
from estuary_cdk.protocol.flow import SerPolicy

TRUNCATION: Final = SerPolicy(
    str_truncate_after=1 << 16, nested_obj_truncate_after=1000, array_truncate_after=1000
)
"""What `truncate_fields` asks of the runtime."""


def no_flow_document() -> Any:
    """Return the setting of that name: whether there is no column of whole documents."""
    return setting(
        default=False,
        title="Exclude Flow Document",
        description="Leave the whole document out of the tables. It is then made of its "
        "properties' columns wherever it is needed, so that all of them become columns.",
    )


def truncate_fields() -> Any:
    """Return the setting of that name: whether long values are cut to `TRUNCATION`."""
    return setting(
        default=False,
        alias="truncateFields",
        title="Truncate Fields",
        description="Shorten strings of more than 64 KiB, and arrays and objects of more than "
        "1000 items.",
    )


def sync_schedule() -> Any:
    """Return the setting of a `SyncSchedule | None`."""
    return setting(
        None,
        alias="syncSchedule",
        title="Sync Schedule",
        description="When to update the tables, where that isn't as soon as there is something "
        "to do.",
    )


def adopt_existing() -> Any:
    """Return a resource's setting: whether a table that isn't the task's may be written to."""
    return setting(
        default=False,
        alias="allowExistingTable",
        title="Allow Existing Table",
        description="Write into a table that is there already and isn't of this task. Its rows "
        "are updated by key, so its key must be unique.",
    )
