"""Fixtures: documents by transaction, which a materialization reads in place of collections.

Either lines, `["collection",{...}]` for a document and `{"commit":true}` for the end of a
transaction, or one array of transactions, each an array of such pairs. A transaction may be empty.
Each document gets a UUID that its place alone decides: an hour per transaction, empty ones
included, and a second per document of it, whoever reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.errors import ConfigError, shortened
from flow_local.collections import Stamper
from flow_local.schema.inference import Inference

PRODUCER: Final = bytes((7, 19, 83, 3, 3, 17))
HOUR: Final = timedelta(hours=1)
SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MARKERS: Final = ("commit", "ack")

Pair = tuple[str, Raw]

_transactions = msgspec.json.Decoder(list[list[Pair]]).decode
_pair = msgspec.json.Decoder(Pair).decode
_marker = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Fixture:
    """The transactions of a fixture, each with the collection and the text of its documents."""

    transactions: Sequence[Sequence[tuple[str, bytes]]]

    def documents(
        self, index: int, bindings: Mapping[str, Sequence[int]]
    ) -> list[tuple[int, list[bytes]]]:
        """Return a transaction's stamped documents by binding, for the bindings of collections.

        Raises DataError for a document whose `_meta` isn't an object.
        """
        found: dict[int, list[bytes]] = {}
        for place, (collection, document) in enumerate(self.transactions[index]):
            readers = bindings.get(collection, ())
            if readers:
                stamped = _stamped(document, index, place)
                for binding in readers:
                    found.setdefault(binding, []).append(stamped)
        return sorted(found.items())


def inferred(read: Fixture) -> dict[str, bytes]:
    """Return the schemas that a fixture's documents imply, by collection.

    They stand in for what the documents of captures would have implied.
    """
    inferences: dict[str, Inference] = {}
    for index, transaction in enumerate(read.transactions):
        for place, (collection, document) in enumerate(transaction):
            inference = inferences.setdefault(collection, Inference())
            inference.widen([_stamped(document, index, place)])
    return {name: inference.schema() or b"{}" for name, inference in inferences.items()}


def _stamped(document: bytes, transaction: int, place: int) -> bytes:
    moment = _EPOCH + transaction * HOUR + place * SECOND
    return Stamper(PRODUCER).stamped([document], moment)[:-1]


def fixture(text: bytes, name: str) -> Fixture:
    """Read a fixture; one without anything is one empty transaction.

    Raises ConfigError with the line of what isn't of either format; `name` says where it is from.
    """
    try:
        arrays = _transactions(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = list(_lines(text, name))
    else:
        found = [[(collection, bytes(doc)) for collection, doc in each] for each in arrays]
    return Fixture(found or [[]])


def _lines(text: bytes, name: str) -> Iterator[list[tuple[str, bytes]]]:
    transaction: list[tuple[str, bytes]] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        line = line.strip()  # noqa: PLW2901 - white space means nothing here
        if not line:
            continue
        if line.startswith(b"{") and _is_marker(line):
            yield transaction
            transaction = []
            continue
        try:
            collection, document = _pair(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"can't read fixture {name!r}: line {number} is {shortened(line)}",
                hint='write ["collection",{...}] for a document, {"commit":true} after the last',
            ) from error
        transaction.append((collection, bytes(document)))
    if transaction:
        yield transaction


def _is_marker(line: bytes) -> bool:
    try:
        value = _marker(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return any(value.get(marker) is True for marker in _MARKERS)
