"""Why a field is selected or rejected, by strength; of each kind only the strongest counts.

The order is Flow's own: it decides which of two fields of one location is kept, and whether a
rejection is taken in silence or stops the build.
"""

from enum import IntEnum
from typing import Final


class Select(IntEnum):
    """Reasons to select a field, weakest first."""

    DESIRED_DEPTH = 1
    CORE_METADATA = 2
    CONNECTOR_REQUIRES_LOCATION = 3
    USER_DEFINED = 4
    CURRENT_VALUE = 5
    PARTITION_KEY = 6
    CONNECTOR_REQUIRES = 7
    USER_REQUIRES = 8
    CURRENT_DOCUMENT = 9
    GROUP_BY_KEY = 10


class Reject(IntEnum):
    """Reasons to reject a field, weakest first."""

    NOT_SELECTED = 1
    COVERED_LOCATION = 2
    EXCLUDED_PARENT = 3
    DUPLICATE_LOCATION = 4
    DUPLICATE_FOLD = 5
    CONNECTOR_OMITS = 6
    COLLECTION_OMITS = 7
    CONNECTOR_INCOMPATIBLE = 8
    CONNECTOR_FORBIDS = 9
    USER_EXCLUDES = 10


SELECT_TEXTS: Final = {
    Select.DESIRED_DEPTH: "recommended at this depth",
    Select.CORE_METADATA: "core metadata",
    Select.CONNECTOR_REQUIRES_LOCATION: "the connector requires its location",
    Select.USER_DEFINED: "a projection of the collection names it",
    Select.CURRENT_VALUE: "materialized already",
    Select.PARTITION_KEY: "partition key",
    Select.CONNECTOR_REQUIRES: "the connector requires it",
    Select.USER_REQUIRES: "required by the catalog",
    Select.CURRENT_DOCUMENT: "the document materialized already",
    Select.GROUP_BY_KEY: "key",
}
REJECT_TEXTS: Final = {
    Reject.NOT_SELECTED: "nothing asks for it",
    Reject.COVERED_LOCATION: "part of a field that is selected",
    Reject.EXCLUDED_PARENT: "part of a field that the catalog excludes",
    Reject.DUPLICATE_LOCATION: "another field has this location",
    Reject.DUPLICATE_FOLD: "another field has this name in the destination",
    Reject.CONNECTOR_OMITS: "the connector doesn't know it",
    Reject.COLLECTION_OMITS: "the collection has no such field",
    Reject.CONNECTOR_INCOMPATIBLE: "incompatible with what is there",
    Reject.CONNECTOR_FORBIDS: "the connector can't materialize it",
    Reject.USER_EXCLUDES: "excluded by the catalog",
}

# These give way to any rejection without a word; stronger wishes make it a conflict.
YIELDING: Final = frozenset(
    {
        Select.DESIRED_DEPTH,
        Select.CORE_METADATA,
        Select.USER_DEFINED,
        Select.CURRENT_VALUE,
        Select.PARTITION_KEY,
    }
)
