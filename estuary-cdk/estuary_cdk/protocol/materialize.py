"""Messages of the materialize protocol, one immutable class each: requests, then responses."""

from msgspec import Raw

from estuary_cdk.protocol.flow import (
    CollectionSpec,
    ConnectorState,
    ConnectorType,
    NetworkPort,
    OAuth2,
    RangeSpec,
    SerPolicy,
)
from estuary_cdk.protocol.message import ABSENT, Message

# Constraint types, by the names the protocol gives them.
FIELD_REQUIRED = "FIELD_REQUIRED"
LOCATION_REQUIRED = "LOCATION_REQUIRED"
LOCATION_RECOMMENDED = "LOCATION_RECOMMENDED"
FIELD_OPTIONAL = "FIELD_OPTIONAL"
FIELD_FORBIDDEN = "FIELD_FORBIDDEN"
INCOMPATIBLE = "INCOMPATIBLE"
CONSTRAINT_NAMES = (
    "INVALID",
    FIELD_REQUIRED,
    LOCATION_REQUIRED,
    LOCATION_RECOMMENDED,
    FIELD_OPTIONAL,
    FIELD_FORBIDDEN,
    INCOMPATIBLE,
    "UNSATISFIABLE",
)


class FieldSelection(Message, frozen=True):
    """The fields a binding materializes; `document` is "" where the root isn't selected."""

    keys: list[str] = []
    values: list[str] = []
    document: str = ""
    field_config: dict[str, Raw] = {}


class MaterializationBinding(Message, frozen=True):
    """One collection materialized into one resource, as built."""

    resource_config: Raw = ABSENT
    resource_path: list[str] = []
    collection: CollectionSpec | None = None
    partition_selector: Raw = ABSENT
    priority: int = 0
    field_selection: FieldSelection = FieldSelection()
    delta_updates: bool = False
    journal_read_suffix: str = ""
    not_before: str = ""
    not_after: str = ""
    backfill: int = 0
    state_key: str = ""
    ser_policy: SerPolicy | None = None
    collection_index: int = 0


class MaterializationSpec(Message, frozen=True):
    """A built materialization."""

    name: str = ""
    connector_type: ConnectorType = ""
    config: Raw = ABSENT
    bindings: list[MaterializationBinding] = []
    shard_template: Raw = ABSENT
    recovery_log_template: Raw = ABSENT
    network_ports: list[NetworkPort] = []
    created_at: str = ""
    inactive_bindings: list[MaterializationBinding] = []
    triggers: Raw = ABSENT
    sync_schedule: Raw = ABSENT
    linked_collections: list[CollectionSpec] = []
    secrets: dict[str, str] = {}


class Spec(Message, frozen=True):
    """Asks what the connector is and how it is configured."""

    connector_type: ConnectorType = ""
    config: Raw = ABSENT


class ValidateBinding(Message, frozen=True):
    """A collection and the resource it is to be materialized into."""

    resource_config: Raw = ABSENT
    collection: CollectionSpec | None = None
    field_config: dict[str, Raw] = {}
    backfill: int = 0
    group_by: list[str] = []
    collection_index: int = 0


class Validate(Message, frozen=True):
    """Asks which fields of each binding may, must or can't be materialized."""

    name: str = ""
    connector_type: ConnectorType = ""
    config: Raw = ABSENT
    bindings: list[ValidateBinding] = []
    last_materialization: MaterializationSpec | None = None
    last_version: str = ""
    linked_collections: list[CollectionSpec] = []
    secrets: dict[str, str] = {}


class Apply(Message, frozen=True):
    """Asks to bring the endpoint's resources to the built materialization; may be repeated."""

    materialization: MaterializationSpec
    version: str = ""
    last_materialization: MaterializationSpec | None = None
    last_version: str = ""
    state: Raw = ABSENT


class Open(Message, frozen=True):
    """Starts a session of transactions."""

    materialization: MaterializationSpec
    version: str = ""
    range: RangeSpec = RangeSpec()
    state: Raw = ABSENT
    sealed_config: Raw = ABSENT


class Load(Message, frozen=True, gc=False):
    """Asks for the stored document of a key; one of the two spellings is there, or both."""

    binding: int = 0
    key: Raw = ABSENT
    key_packed: str = ""


class BackfillMark(Message, frozen=True):
    """When a binding's backfill began or completed."""

    binding: int = 0
    timestamp: str = ""


class Flush(Message, frozen=True):
    """Ends the loads of a transaction."""

    state_patches: Raw = ABSENT
    backfill_begins: list[BackfillMark] = []
    backfill_completes: list[BackfillMark] = []


class Store(Message, frozen=True, gc=False):
    """A reduced document to store; `exists` if its key was loaded in this transaction."""

    binding: int = 0
    key: Raw = ABSENT
    key_packed: str = ""
    values: Raw = ABSENT
    values_packed: str = ""
    doc: Raw = ABSENT
    exists: bool = False
    delete: bool = False


class StartCommit(Message, frozen=True):
    """Ends the stores of a transaction; the checkpoint is opaque and kept byte for byte."""

    runtime_checkpoint: Raw = ABSENT
    state_patches: Raw = ABSENT


class Acknowledge(Message, frozen=True):
    """Tells that the last transaction is in the recovery log (first: that recovery is done)."""

    state_patches: Raw = ABSENT


class SpecResponse(Message, frozen=True):
    """What the connector is and how it is configured."""

    protocol: int = 0
    config_schema: Raw = ABSENT
    resource_config_schema: Raw = ABSENT
    documentation_url: str = ""
    oauth2: OAuth2 | None = None


class Constraint(Message, frozen=True):
    """What the connector allows for a field, why, and the name the destination gives it."""

    type: str = "INVALID"
    reason: str = ""
    folded_field: str = ""


class ProjectionConstraint(Message, frozen=True):
    """One constraint of one field; a field may have several."""

    field: str = ""
    constraint: Constraint = Constraint()


class ValidatedBinding(Message, frozen=True):
    """A binding's resource path and the constraints of its projections, in either form."""

    resource_path: list[str] = []
    projection_constraints: list[ProjectionConstraint] = []
    constraints: dict[str, Constraint] = {}
    delta_updates: bool = False
    case_insensitive_fields: bool = False
    ser_policy: SerPolicy | None = None


class Validated(Message, frozen=True):
    """One entry per binding of the request, in its order."""

    bindings: list[ValidatedBinding] = []


class Applied(Message, frozen=True):
    """What Apply did, for people; with a state update, Apply is called again."""

    action_description: str = ""
    state: ConnectorState | None = None


class Opened(Message, frozen=True):
    """The session runs; a checkpoint found in the endpoint overrides the runtime's own."""

    runtime_checkpoint: Raw = ABSENT
    disable_load_optimization: bool = False


class Loaded(Message, frozen=True, gc=False):
    """The stored document of a loaded key, as it was stored."""

    doc: Raw
    binding: int = 0


class Flushed(Message, frozen=True):
    """All loaded documents of the transaction were sent."""

    state: ConnectorState | None = None


class StartedCommit(Message, frozen=True):
    """The transaction is committed, or will be once this state is durable."""

    state: ConnectorState | None = None


class Acknowledged(Message, frozen=True):
    """Work that was left for after the commit is done."""

    state: ConnectorState | None = None


Request = Spec | Validate | Apply | Open | Load | Flush | Store | StartCommit | Acknowledge
Response = (
    SpecResponse | Validated | Applied | Opened | Loaded | Flushed | StartedCommit | Acknowledged
)

REQUESTS: dict[str, type[Message]] = {
    "spec": Spec,
    "validate": Validate,
    "apply": Apply,
    "open": Open,
    "load": Load,
    "flush": Flush,
    "store": Store,
    "startCommit": StartCommit,
    "acknowledge": Acknowledge,
}
RESPONSES: dict[str, type[Message]] = {
    "spec": SpecResponse,
    "validated": Validated,
    "applied": Applied,
    "opened": Opened,
    "loaded": Loaded,
    "flushed": Flushed,
    "startedCommit": StartedCommit,
    "acknowledged": Acknowledged,
}
