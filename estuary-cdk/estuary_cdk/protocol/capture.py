"""Messages of the capture protocol, one immutable class each: requests, then responses."""

from msgspec import Raw

from estuary_cdk.protocol.flow import (
    CollectionSpec,
    ConnectorState,
    ConnectorType,
    NetworkPort,
    OAuth2,
    RangeSpec,
)
from estuary_cdk.protocol.message import ABSENT, Message


class CaptureBinding(Message, frozen=True):
    """One resource captured into one collection, as built."""

    resource_config: Raw = ABSENT
    resource_path: list[str] = []
    collection: CollectionSpec | None = None
    backfill: int = 0
    state_key: str = ""
    collection_index: int = 0


class CaptureSpec(Message, frozen=True):
    """A built capture."""

    name: str = ""
    connector_type: ConnectorType = ""
    config: Raw = ABSENT
    bindings: list[CaptureBinding] = []
    interval_seconds: int = 0
    shard_template: Raw = ABSENT
    recovery_log_template: Raw = ABSENT
    network_ports: list[NetworkPort] = []
    inactive_bindings: list[CaptureBinding] = []
    redact_salt: str = ""
    created_at: str = ""
    linked_collections: list[CollectionSpec] = []
    secrets: dict[str, str] = {}


class Spec(Message, frozen=True):
    """Asks what the connector is and how it is configured."""

    connector_type: ConnectorType = ""
    config: Raw = ABSENT


class Discover(Message, frozen=True):
    """Asks which resources the endpoint has."""

    connector_type: ConnectorType = ""
    config: Raw = ABSENT
    name: str = ""
    created_at: str = ""
    secrets: dict[str, str] = {}


class ValidateBinding(Message, frozen=True):
    """A resource and the collection it is to be captured into."""

    resource_config: Raw = ABSENT
    collection: CollectionSpec | None = None
    backfill: int = 0
    collection_index: int = 0


class Validate(Message, frozen=True):
    """Asks whether config and bindings work, and for each binding's resource path."""

    name: str = ""
    connector_type: ConnectorType = ""
    config: Raw = ABSENT
    bindings: list[ValidateBinding] = []
    last_capture: CaptureSpec | None = None
    last_version: str = ""
    linked_collections: list[CollectionSpec] = []
    secrets: dict[str, str] = {}


class Apply(Message, frozen=True):
    """Asks to prepare the endpoint for a built capture; may be repeated."""

    capture: CaptureSpec
    version: str = ""
    last_capture: CaptureSpec | None = None
    last_version: str = ""
    state: Raw = ABSENT


class Open(Message, frozen=True):
    """Starts a session of capturing from `state` on."""

    capture: CaptureSpec
    version: str = ""
    range: RangeSpec = RangeSpec()
    state: Raw = ABSENT
    sealed_config: Raw = ABSENT


class Acknowledge(Message, frozen=True):
    """Tells that this many more checkpoints, in order of emission, are durable."""

    checkpoints: int = 0


class SpecResponse(Message, frozen=True):
    """What the connector is and how it is configured."""

    protocol: int = 0
    config_schema: Raw = ABSENT
    resource_config_schema: Raw = ABSENT
    documentation_url: str = ""
    oauth2: OAuth2 | None = None
    resource_path_pointers: list[str] = []


class DiscoveredBinding(Message, frozen=True):
    """A resource the endpoint has, with the schema and key of its documents."""

    recommended_name: str = ""
    resource_config: Raw = ABSENT
    document_schema: Raw = ABSENT
    key: list[str] = []
    disable: bool = False
    resource_path: list[str] = []
    is_fallback_key: bool = False


class Discovered(Message, frozen=True):
    """The endpoint's resources."""

    bindings: list[DiscoveredBinding] = []


class ValidatedBinding(Message, frozen=True):
    """The path that identifies a resource; unique within the task."""

    resource_path: list[str] = []


class Validated(Message, frozen=True):
    """One entry per binding of the request, in its order."""

    bindings: list[ValidatedBinding] = []


class Applied(Message, frozen=True):
    """What Apply did, for people; with a state update, Apply is called again."""

    action_description: str = ""
    state: ConnectorState | None = None


class Opened(Message, frozen=True):
    """The session runs; with `explicit_acknowledgements` commits are to be acknowledged."""

    explicit_acknowledgements: bool = False


class Captured(Message, frozen=True, gc=False):
    """One document of a binding."""

    doc: Raw
    binding: int = 0


class SourcedSchema(Message, frozen=True):
    """The source's own, closed schema of a binding's documents."""

    document_schema: Raw
    binding: int = 0


class BackfillBegin(Message, frozen=True):
    """A binding's backfill begins; followed by a checkpoint of its own."""

    binding: int = 0


class BackfillComplete(Message, frozen=True):
    """A binding's backfill is complete; followed by a checkpoint of its own."""

    binding: int = 0


class Checkpoint(Message, frozen=True):
    """Everything since the last checkpoint becomes durable together with this state update."""

    state: ConnectorState | None = None


Request = Spec | Discover | Validate | Apply | Open | Acknowledge
Response = (
    SpecResponse
    | Discovered
    | Validated
    | Applied
    | Opened
    | Captured
    | SourcedSchema
    | BackfillBegin
    | BackfillComplete
    | Checkpoint
)

REQUESTS: dict[str, type[Message]] = {
    "spec": Spec,
    "discover": Discover,
    "validate": Validate,
    "apply": Apply,
    "open": Open,
    "acknowledge": Acknowledge,
}
RESPONSES: dict[str, type[Message]] = {
    "spec": SpecResponse,
    "discovered": Discovered,
    "validated": Validated,
    "applied": Applied,
    "opened": Opened,
    "captured": Captured,
    "sourcedSchema": SourcedSchema,
    "backfillBegin": BackfillBegin,
    "backfillComplete": BackfillComplete,
    "checkpoint": Checkpoint,
}
