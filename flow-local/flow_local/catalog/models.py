"""The catalog as the rest of the runtime sees it: names, typed settings, and raw JSON for the wire.

Values that a connector reads (endpoint configs, resources, field configs) and schemas are compact
JSON `bytes`, ready to be sent; numbers in them are spelled as in the file. Every model knows the
place where it is written. What may be secret isn't part of a model's `repr`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from flow_local.catalog.nodes import Location, Node, nearest

IncompatibleSchemaChange = Literal["backfill", "disableBinding", "disableTask", "abort"]


@dataclass(frozen=True, slots=True)
class ImageEndpoint:
    """A connector in a container image."""

    image: str
    config: bytes = field(repr=False)
    location: Location


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """A connector that is a command of this machine."""

    command: tuple[str, ...]
    config: bytes = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    protobuf: bool
    location: Location


@dataclass(frozen=True, slots=True)
class DekafEndpoint:
    """A Kafka-protocol endpoint served by Estuary's platform; known, but not run here."""

    variant: str
    config: bytes = field(repr=False)
    location: Location


Endpoint: TypeAlias = ImageEndpoint | LocalEndpoint | DekafEndpoint


@dataclass(frozen=True, slots=True)
class Shards:
    """How a task is run; None is the runtime's default. `count` is of flow-local alone."""

    disable: bool = False
    count: int = 1
    hot_standbys: int | None = None
    transaction_min: timedelta | None = None
    transaction_max: timedelta | None = None
    read_channel_size: int | None = None
    ring_buffer_size: int | None = None
    log_level: str | None = None
    flags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AutoDiscover:
    """What a periodic discovery may change."""

    add_new_bindings: bool
    evolve_incompatible_collections: bool


@dataclass(frozen=True, slots=True)
class CaptureBinding:
    """One resource captured into one collection.

    `resource` is without its `_meta` member, which is bookkeeping; `resource_path` is the path that
    was kept there, or None.
    """

    resource: bytes
    target: str
    disable: bool
    backfill: int
    resource_path: tuple[str, ...] | None
    location: Location


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture task; `bindings` are in file order and include disabled ones."""

    name: str
    endpoint: Endpoint
    bindings: tuple[CaptureBinding, ...]
    interval: timedelta
    auto_discover: AutoDiscover | None
    shards: Shards
    secrets: Mapping[str, str]
    redact_salt: bytes | None = field(repr=False)
    location: Location


@dataclass(frozen=True, slots=True)
class Projection:
    """A field that the user named."""

    field: str
    pointer: str
    partition: bool
    location: Location


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection; `read_schema` equals `write_schema` when the file has one `schema`.

    Relative `$ref`s to files are bundled under `$defs`; `flow://...` references are left as they
    are. `journals` and `derive` are raw JSON.
    """

    name: str
    write_schema: bytes
    read_schema: bytes
    key: tuple[str, ...]
    projections: tuple[Projection, ...]
    journals: bytes | None
    derive: bytes | None
    location: Location


@dataclass(frozen=True, slots=True)
class PartitionSelector:
    """Which partitions are read; values are raw JSON."""

    include: Mapping[str, tuple[bytes, ...]]
    exclude: Mapping[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Source:
    """A collection that is read, and how much of it; a time that is None is no bound."""

    collection: str
    partitions: PartitionSelector | None
    not_before: datetime | None
    not_after: datetime | None
    location: Location


@dataclass(frozen=True, slots=True)
class FieldChoices:
    """What the user asked of field selection.

    `group_by` is None when the collection key decides. `recommended_depth` is how deep locations
    are recommended: 0 is not at all, None is any depth.
    """

    group_by: tuple[str, ...] | None
    require: Mapping[str, bytes]
    exclude: tuple[str, ...]
    recommended_depth: int | None


@dataclass(frozen=True, slots=True)
class MaterializationBinding:
    """One collection materialized into one resource; see CaptureBinding for `resource`."""

    resource: bytes
    source: Source
    fields: FieldChoices
    disable: bool
    priority: int
    backfill: int
    on_incompatible_schema_change: IncompatibleSchemaChange | None
    resource_path: tuple[str, ...] | None
    location: Location


@dataclass(frozen=True, slots=True)
class SourceCapture:
    """The capture whose collections a materialization is to follow; each may be missing."""

    capture: str | None
    target_naming: str | None
    delta_updates: bool
    fields_recommended: int | None


@dataclass(frozen=True, slots=True)
class Materialization:
    """A materialization task; `bindings` are in file order and include disabled ones."""

    name: str
    endpoint: Endpoint
    bindings: tuple[MaterializationBinding, ...]
    source: SourceCapture | None
    on_incompatible_schema_change: IncompatibleSchemaChange
    shards: Shards
    secrets: Mapping[str, str]
    sync_schedule: bytes | None
    triggers: bytes | None
    location: Location


@dataclass(frozen=True, slots=True)
class Ingest:
    """A test step that publishes `documents` in one transaction."""

    collection: str
    documents: tuple[bytes, ...]
    description: str
    location: Location


@dataclass(frozen=True, slots=True)
class Verify:
    """A test step that compares a collection's reduced content with `documents`."""

    collection: str
    documents: tuple[bytes, ...]
    partitions: PartitionSelector | None
    description: str
    location: Location


Step: TypeAlias = Ingest | Verify


@dataclass(frozen=True, slots=True)
class Test:
    """A test of derivations: steps in order."""

    name: str
    steps: tuple[Step, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that a flow.yaml and its imports define; mappings are in file order.

    `source` is the text's meaning before environment variables and secrets were put in, with every
    file reference inlined.
    """

    path: str
    captures: Mapping[str, Capture]
    collections: Mapping[str, Collection]
    materializations: Mapping[str, Materialization]
    tests: Mapping[str, Test]
    storage_mappings: bytes | None
    source: Node

    def locate(self, pointer: str) -> Location:
        """Return where a JSON pointer into the bundled catalog is written.

        A pointer that isn't there gives the place of its deepest part that is.
        """
        return nearest(self.source, pointer)
