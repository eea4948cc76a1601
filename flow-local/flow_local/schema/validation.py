"""Documents judged against a collection's schema.

Most documents of most schemas are proved valid by a generated decoder (`acceptors`). The others,
and all documents of schemas that have none, are decoded to Python values and given to
jsonschema_rs, which alone may call a document invalid. Integers of any size are judged exactly,
fractions as doubles; where they are beyond a double, exactly.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import jsonschema_rs
import msgspec

from estuary_cdk.errors import shortened
from flow_local.schema import pointers
from flow_local.schema.acceptors import acceptors
from flow_local.schema.dialect import parsed
from flow_local.schema.judge import compiled

REASON_VALUE_CHARS = 100

_PAIR = re.compile(rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALVES = "half of a surrogate pair, which is no character (the source has to repair it)"

_decode = msgspec.json.Decoder().decode
_decode_exactly = msgspec.json.Decoder(float_hook=Decimal).decode


@dataclass(frozen=True, slots=True)
class Failure:
    """The first invalid document of a batch: where it stands, what in it is wrong, and why.

    `pointer` is the offending location in the document ("" for the document as a whole), `reason`
    one line without a full stop that quotes the value shortened.
    """

    index: int
    pointer: str
    reason: str


class Validator:
    """Judges batches of documents.

    `schema` is JSON text. Raises ConfigError where it is malformed, uses a keyword that Flow
    doesn't know, or refers to something that isn't there.
    """

    def __init__(self, schema: bytes) -> None:
        plain = parsed(schema)
        self._judge = compiled(plain)
        self._acceptors = acceptors(plain)

    @property
    def is_fast(self) -> bool:
        """Whether a decoder can prove documents of this schema valid."""
        return self._acceptors is not None

    def first_failure(self, documents: Sequence[bytes]) -> Failure | None:
        """Return the first document that isn't a JSON object in UTF-8 that the schema allows."""
        fast = self._acceptors
        if fast is None or not _is_utf8(documents):
            return self._first_judged(documents)
        if len(fast) == 1:
            return self._first_unproved(documents, fast[0])
        for index, document in enumerate(documents):
            try:
                for accept in fast:
                    accept(document)
            except (msgspec.DecodeError, RecursionError):
                if failure := self._judged(index, document):
                    return failure
        return None

    def _first_unproved(
        self, documents: Sequence[bytes], accept: Callable[[bytes], object]
    ) -> Failure | None:
        for index, document in enumerate(documents):
            try:
                accept(document)
            except (msgspec.DecodeError, RecursionError):
                if failure := self._judged(index, document):
                    return failure
        return None

    def _first_judged(self, documents: Sequence[bytes]) -> Failure | None:
        for index, document in enumerate(documents):
            if failure := self._judged(index, document):
                return failure
        return None

    def _judged(self, index: int, document: bytes) -> Failure | None:
        try:
            value = _value(document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = f"a string has {_HALVES}" if _has_half_pair(document) else error
            return Failure(index, "", f"it isn't a JSON document: {reason}")
        if not isinstance(value, dict):
            return Failure(index, "", f"{_shown(value)} is not an object")
        if self._judge.is_valid(value):
            return None
        found = next(iter(self._judge.iter_errors(value)))
        place = pointers.joined(found.instance_path)
        keyword = pointers.joined(found.schema_path)
        return Failure(index, place, f"{_reason(found)} (schema {keyword})")


def _has_half_pair(document: bytes) -> bool:
    """Whether half of a surrogate pair stands alone, which the decoder only calls truncated."""
    return re.search(rb"\\u[dD][89a-fA-F]", _PAIR.sub(b"", document)) is not None


def _is_utf8(documents: Sequence[bytes]) -> bool:
    text = b"\n".join(documents)
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _value(document: bytes) -> Any:
    if not document.isascii():
        document.decode()  # a decoder doesn't look at every byte
    try:
        return _decode(document)
    except msgspec.DecodeError:
        # A fraction beyond a double is a number all the same.
        return _decode_exactly(document)


def _reason(error: jsonschema_rs.ValidationError) -> str:
    message = " ".join(error.message.split())
    if len(message) <= 3 * REASON_VALUE_CHARS:
        return message
    keyword = next((part for part in reversed(error.schema_path) if isinstance(part, str)), "")
    return f"{_shown(error.instance)} fails {keyword!r}"


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= REASON_VALUE_CHARS else shortened(text, REASON_VALUE_CHARS)
