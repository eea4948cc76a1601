"""Objects that the protocols share, by their protocol names and with their protocol meaning.

Lists and maps are never null, scalars have proto3 defaults, opaque JSON is `Raw`.
"""

from typing import Literal

from msgspec import Raw

from estuary_cdk.protocol.message import ABSENT, Message

PROTOCOL_VERSION = 3032023
UUID_POINTER = "/_meta/uuid"
UUID_PLACEHOLDER = "DocUUIDPlaceholder-329Bb50aa48EAa9ef"
KEY_END_MAX = 0xFFFFFFFF

ConnectorType = str
Exists = Literal["INVALID", "MUST", "MAY", "IMPLICIT", "CANNOT"]


class RangeSpec(Message, frozen=True):
    """The keys a shard owns; both bounds are inclusive."""

    key_begin: int = 0
    key_end: int = 0
    r_clock_begin: int = 0
    r_clock_end: int = 0


FULL_RANGE = RangeSpec(key_end=KEY_END_MAX, r_clock_end=KEY_END_MAX)


class ConnectorState(Message, frozen=True):
    """An update that replaces the whole state or, with `merge_patch`, patches it (RFC 7396)."""

    updated: Raw = ABSENT
    merge_patch: bool = False


class StringInference(Message, frozen=True):
    """What is known of a location's strings."""

    content_type: str = ""
    format: str = ""
    content_encoding: str = ""
    max_length: int = 0


class NumericInference(Message, frozen=True):
    """What is known of a location's numbers."""

    has_minimum: bool = False
    minimum: float = 0.0
    has_maximum: bool = False
    maximum: float = 0.0


class ArrayInference(Message, frozen=True):
    """What is known of a location's arrays."""

    min_items: int = 0
    has_max_items: bool = False
    max_items: int = 0
    item_types: list[str] = []


class Inference(Message, frozen=True):
    """What a schema says of one location; `types` is sorted, empty means it can't exist."""

    types: list[str] = []
    string: StringInference | None = None
    title: str = ""
    description: str = ""
    default: Raw = ABSENT
    secret: bool = False
    exists: str = "INVALID"
    numeric: NumericInference | None = None
    array: ArrayInference | None = None
    enum: list[Raw] = []


class Projection(Message, frozen=True):
    """A named field of a collection: `field` stands for the location `ptr` (root is "")."""

    ptr: str = ""
    field: str = ""
    explicit: bool = False
    is_partition_key: bool = False
    is_primary_key: bool = False
    inference: Inference = Inference()


class CollectionSpec(Message, frozen=True):
    """A built collection as tasks see it; `read_schema` is absent where it is `write_schema`."""

    name: str = ""
    write_schema: Raw = ABSENT
    read_schema: Raw = ABSENT
    key: list[str] = []
    uuid_ptr: str = ""
    partition_fields: list[str] = []
    projections: list[Projection] = []
    ack_template: Raw = ABSENT
    partition_template: Raw = ABSENT
    derivation: Raw = ABSENT


class OAuth2(Message, frozen=True):
    """How the control plane's UI obtains a token; templates are Mustache (reference: OAuth2)."""

    provider: str = ""
    auth_url_template: str = ""
    access_token_url_template: str = ""
    access_token_method: str = ""
    access_token_body: str = ""
    access_token_headers: dict[str, Raw] = {}
    access_token_response_map: dict[str, Raw] = {}
    refresh_token_url_template: str = ""
    refresh_token_method: str = ""
    refresh_token_body: str = ""
    refresh_token_headers: dict[str, Raw] = {}
    refresh_token_response_map: dict[str, Raw] = {}


class NetworkPort(Message, frozen=True):
    """A port a connector listens on."""

    number: int = 0
    protocol: str = ""
    public: bool = False


class SerPolicy(Message, frozen=True):
    """Sizes past which the runtime truncates values it sends to be stored; 0 means never."""

    str_truncate_after: int = 0
    nested_obj_truncate_after: int = 0
    array_truncate_after: int = 0
