"""The resource config of a table, the same for every database."""

from typing import Any, Final, Literal

from pydantic import field_validator, model_validator

from estuary_cdk.config import ResourceConfig, Settings, setting

SUPERSEDED: Final = {"primary_key", "syncMode"}
PATH: Final = ("/namespace", "/stream")

Mode = Literal["", "Normal", "Precise", "Only Changes", "Without Primary Key"]


class AdvancedResource(Settings):
    """Settings of one table that few need."""

    additional_backfill_filter: str = setting(
        "",
        title="Backfill Filter",
        description="A SQL condition: the backfill reads only rows that fulfil it. Changes are "
        "captured whether or not they do.",
    )

    @field_validator("additional_backfill_filter")
    @classmethod
    def _something(cls, value: str) -> str:
        if value and not value.strip():
            raise ValueError("a filter must not be blank")
        return value


class TableResource(ResourceConfig):
    """Which table a binding captures, and how its backfill goes along with its changes."""

    mode: Mode = setting(
        "",
        title="Backfill Mode",
        description="How the table's rows are read beside its changes. Left empty, it is chosen "
        "by the type of the key.",
    )
    namespace: str = setting(title="Schema", description="The schema in which the table resides.")
    stream: str = setting(title="Table Name", description="The name of the table.")
    priority: int = setting(
        0,
        title="Backfill Priority",
        description="Tables of a higher priority are backfilled before any of a lower one begins.",
    )
    advanced: AdvancedResource = setting(
        default_factory=AdvancedResource,
        title="Advanced Options",
        description="Settings that few need.",
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_the_superseded(cls, value: Any) -> Any:
        """Accept what old specs have beside these settings and no longer means anything."""
        if isinstance(value, dict):
            return {name: each for name, each in value.items() if name not in SUPERSEDED}
        return value

    @field_validator("namespace", "stream")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value:
            raise ValueError("it must not be empty")
        return value
