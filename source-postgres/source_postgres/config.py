"""The endpoint config: where the database is, who we are there, and what is to be captured."""

import re
from typing import Any, Final, Literal

from pydantic import PrivateAttr, field_validator, model_validator

from estuary_cdk.config import EndpointConfig, Settings, setting
from estuary_cdk.kits.postgres import (
    Address,
    Credentials,
    Server,
    TlsSettings,
    Way,
    credentials_setting,
    with_credentials,
)
from estuary_cdk.kits.tunnel import NetworkTunnel, network_tunnel_setting

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_REDISCOVERY_S_MIN: Final = 60
_REDISCOVERY_S_MAX: Final = 8760 * 3600


class DiscoveryFilters(Settings):
    """Which tables discovery lists."""

    include_schemas: list[str] = setting(
        default_factory=list,
        title="Include Schemas",
        description="Only tables of these schemas are discovered; empty for all.",
    )
    exclude_schemas: list[str] = setting(
        default_factory=list,
        title="Exclude Schemas",
        description="Tables of these schemas are not discovered.",
    )
    table_patterns: list[str] = setting(
        default_factory=list,
        title="Table Patterns",
        description="Only tables that match one of these patterns are discovered: names or "
        "schema.name, with * and ? as wildcards; empty for all.",
    )
    discover_unpublished_tables: bool = setting(
        False,
        title="Discover Unpublished Tables",
        description="Also discover tables that are not in the publication.",
    )

    @field_validator("table_patterns")
    @classmethod
    def _patterns(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            parts = re.split(r"(?<!\\)\.", pattern)
            if len(parts) > 2 or not all(parts) or re.search(r"(?<!\\)(?:\\\\)*\\$", pattern):
                raise ValueError(f"{pattern!r} is no table pattern: write name or schema.name")
        return patterns


class Advanced(TlsSettings):
    """Settings that few need."""

    publication_name: str = setting(
        "flow_publication",
        alias="publicationName",
        title="Publication Name",
        description="The publication of the tables to capture; created if it may be.",
    )
    slot_name: str = setting(
        "flow_slot",
        alias="slotName",
        title="Replication Slot Name",
        description="The replication slot to read changes from; created when there is none.",
        pattern="^[a-z0-9_]{1,63}$",
    )
    watermarks_table: str = setting(
        "public.flow_watermarks",
        alias="watermarksTable",
        title="Watermarks Table",
        description="Accepted for compatibility: no table is written; excluded from discovery.",
        pattern=r"^.+\..+$",
    )
    skip_backfills: str = setting(
        "",
        title="Skip Backfills",
        description="Tables of which only changes are captured, as schema.table, separated by "
        "commas; *.* for all.",
    )
    backfill_chunk_size: int = setting(
        50_000,
        title="Backfill Chunk Size",
        description="How many rows of a table are read at a time.",
        ge=1,
    )
    backfill_workers: int = setting(
        2,
        title="Backfill Workers",
        description="How many chunks, of one table or of several, are read at a time; each takes "
        "a connection.",
        ge=1,
        le=16,
    )
    discover_schemas: list[str] = setting(
        default_factory=list,
        title="Discovery Schema Selection",
        description="Superseded by the discovery filters; schemas of both are discovered.",
    )
    min_backfill_xid: str = setting(
        "",
        title="Minimum Backfill XID",
        description="Backfill only rows written by this transaction or later ones.",
        pattern="^[0-9]*$",
    )
    read_only_capture: bool = setting(
        False,
        title="Read-Only Capture",
        description="Write nothing to the database: no heartbeats, no change of the publication.",
    )
    capture_as_partitions: bool = setting(
        False,
        title="Capture Partitioned Tables As Partitions",
        description="Capture the partitions of a partitioned table rather than its root.",
    )
    source_tag: str = setting(
        "",
        title="Source Tag",
        description="Copied to every document as _meta/source/tag.",
    )
    rediscovery_interval: str = setting(
        "15m",
        title="Rediscovery Interval",
        description="How often to look for changes of tables' columns, such as 15m.",
    )
    statement_timeout: Literal["", "0", "30s", "1m", "2m", "5m", "30m"] = setting(
        "",
        title="Statement Timeout",
        description="How long a query of the backfill may take; 0 for no limit, empty for 2m.",
    )
    on_slot_loss: Literal["error", "backfill"] = setting(
        "error",
        title="On Slot Loss",
        description="What to do when changes are lost with the replication slot: stop with an "
        "error, or backfill every table again.",
    )

    @field_validator("rediscovery_interval")
    @classmethod
    def _interval(cls, text: str) -> str:
        seconds = duration_s(text)
        if seconds is None:
            raise ValueError(f"{text!r} is no duration: write 15m, 1h or 90s")
        if seconds < _REDISCOVERY_S_MIN:
            raise ValueError("it must be at least 1m")
        if seconds > _REDISCOVERY_S_MAX:
            raise ValueError("it must not exceed 8760h")
        return text


class Config(EndpointConfig):
    """How to reach the database and what to capture of it."""

    address: Address = setting(
        title="Server Address",
        description="Host or host:port of the database, reached directly and not through a pooler.",
    )
    user: str = setting(
        "flow_capture", title="Login User", description="The database user to authenticate as."
    )
    database: str = setting(
        "postgres", title="Database", description="Name of the database to capture from."
    )
    history_mode: bool = setting(
        False,
        alias="historyMode",
        title="History Mode",
        description="Keep every change as a document of its own.",
    )
    credentials: Credentials = credentials_setting()
    discovery_filters: DiscoveryFilters = setting(
        default_factory=DiscoveryFilters,
        alias="discoveryFilters",
        title="Discovery Filters",
        description="Which tables are discovered.",
    )
    advanced: Advanced = setting(
        default_factory=Advanced,
        title="Advanced Options",
        description="Settings that few need.",
        advanced=True,
    )

    network_tunnel: NetworkTunnel | None = network_tunnel_setting()
    _way: Way | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _shaped(cls, value: Any) -> Any:
        return with_credentials(value)

    @field_validator("user")
    @classmethod
    def _named(cls, user: str) -> str:
        if not user:
            raise ValueError("missing 'user'")
        return user

    @property
    def way(self) -> Way | None:
        """The way to the server, where it isn't dialled."""
        return self._way

    def by(self, way: Way | None) -> "Config":
        """Return this config with a way to its server."""
        config = self.model_copy()
        config._way = way  # noqa: SLF001 - it is our own
        return config

    @property
    def server(self) -> Server:
        """The server, as connections to it need it."""
        return Server(
            self.address, self.database, self.user, self.credentials, self.advanced, self._way
        )


def duration_s(text: str) -> float | None:
    """Return the seconds of a duration such as 1h30m, None for what isn't one."""
    found = _DURATION.fullmatch(text.strip())
    if not found or not text.strip():
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds
