"""What the process that gathers is asked, and the one `Answer` each request has, in order."""

from dataclasses import dataclass

from estuary_cdk.protocol.materialize import MaterializationSpec


@dataclass(frozen=True, slots=True)
class Compile:
    """What is materialized, and how; comes first."""

    spec: MaterializationSpec
    packs_values: bool
    loads_all: bool


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction, by a number of its own."""

    transaction: int
    max_keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Add:
    """Documents of a binding, as lines; the answer has the loads."""

    transaction: int
    binding: int
    lines: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """Stored documents of a binding, as lines; the answer has the key that wasn't asked for."""

    transaction: int
    binding: int
    lines: bytes


@dataclass(frozen=True, slots=True)
class Next:
    """Asks for the next block of stores; with the last, an empty one, the transaction is gone."""

    transaction: int


Request = Compile | Begin | Add | Loaded | Next


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of a request, and what is held of its binding then."""

    count: int = 0
    lines: bytes = b""
    max_key: bytes = b""
    documents: int = 0
    size: int = 0
