"""What a user configures: a file for the task, a table for each binding."""

from pydantic import field_validator

from estuary_cdk.config import EndpointConfig, ResourceConfig, setting
from estuary_cdk.kits.sql.statements import CHECKPOINTS


class Config(EndpointConfig):
    """The database file and what becomes of deleted documents."""

    path: str = setting(
        title="Database File",
        description="Path of the SQLite file. It is created when missing; its directory is not.",
        order=0,
    )
    hard_delete: bool = setting(
        default=False,
        alias="hardDelete",
        title="Hard Delete",
        description="Delete the row of a deleted document. By default the row stays and says so "
        'in its column "_meta/op".',
        order=1,
    )

    @field_validator("path")
    @classmethod
    def _names_a_file(cls, path: str) -> str:
        if path.strip() in {"", ":memory:"} or "\x00" in path:
            raise ValueError("it must name a file, for what is committed must outlive the process")
        return path


class Resource(ResourceConfig):
    """The table of a binding and how it is updated."""

    table: str = setting(
        title="Table",
        description="Name of the table, created when missing. Names that differ by case alone "
        "are one table.",
        collection_name=True,
        order=0,
    )
    delta_updates: bool = setting(
        default=False,
        title="Delta Updates",
        description="Append every update as a row of its own, never reading what is there.",
        delta_updates=True,
        order=1,
    )

    @field_validator("table")
    @classmethod
    def _is_free(cls, table: str) -> str:
        if table.strip() == "" or "\x00" in table:
            raise ValueError("it must have a character that shows, and no zero character")
        if table.lower().startswith("sqlite_"):
            raise ValueError("SQLite keeps names that begin with sqlite_ to itself")
        if table.lower() == CHECKPOINTS:
            raise ValueError(f"{CHECKPOINTS} is where this connector keeps its checkpoints")
        return table
