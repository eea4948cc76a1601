"""Many documents proved valid at once, and what tells their keys apart found on the way.

The decoders that prove documents (`acceptors`) read their properties as Python values. Where a part
of the key is among them, distinct values are distinct keys: strings are compared by what they say,
integers exactly, fractions as doubles. The other way round it need not be so (1 and 1.0 and true
are equal, as are absent and null), so equal values tell nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from operator import attrgetter
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from flow_local.schema import pointers
from flow_local.schema.acceptors import decoders
from flow_local.schema.dialect import parsed
from flow_local.schema.pointers import Tokens

_SCALARS = {str, int, float, bool, date, type(None)}


@dataclass(frozen=True, slots=True)
class Proof:
    """That documents are valid. `parts` holds a part of each one's key, if that is known."""

    parts: Sequence[object] | None


class Prover:
    """Proves documents of one schema valid, if it can; made by `prover`."""

    def __init__(self, found: "Sequence[msgspec.json.Decoder[Any]]", key: Sequence[str]) -> None:
        self._decode = [each.decode_lines for each in found]
        self._part: Callable[[object], object] | None = None
        self._which = 0
        # The last part of a key tells most.
        for tokens in map(pointers.tokens, reversed(key)):
            for which, decoder in enumerate(found):
                if self._part is None and (path := _path(decoder.type, tokens)):
                    self._part, self._which = attrgetter(path), which

    def proof(self, lines: bytes, count: int) -> Proof | None:
        """Prove that the text is `count` objects in UTF-8 that the schema allows, if it is.

        None says nothing about them.
        """
        try:
            if not lines.isascii():
                lines.decode()  # a decoder doesn't look at every byte
            found = [decode(lines) for decode in self._decode]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if any(len(each) != count for each in found):
            return None
        if self._part is None:
            return Proof(None)
        try:
            return Proof(list(map(self._part, found[self._which])))
        except AttributeError:  # A value around it is missing.
            return Proof(None)


def prover(schema: bytes, key: Sequence[str]) -> Prover | None:
    """Return a prover for JSON schema text, or None where decoders can't prove it.

    Raises ConfigError as `Validator` does.
    """
    found = decoders(parsed(schema))
    return None if found is None else Prover(found, key)


def _path(kind: Any, tokens: Tokens) -> str:
    """Return the attribute path of a scalar at a pointer; empty if it isn't read as one."""
    name, *below = tokens or ("",)
    for option in _options(kind):
        if not isinstance(option, type) or not issubclass(option, msgspec.Struct):
            continue
        for field in msgspec.structs.fields(option):
            if field.encode_name != name:
                continue
            if below:
                inner = _path(field.type, tuple(below))
                return f"{field.name}.{inner}" if inner else ""
            return field.name if all(map(_is_scalar, _options(field.type))) else ""
    return ""


def _options(kind: Any) -> Sequence[Any]:
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    members = () if get_origin(kind) is Literal or isinstance(kind, type) else get_args(kind)
    return [each for member in members for each in _options(member)] or [kind]


def _is_scalar(kind: Any) -> bool:
    return kind is None or kind in _SCALARS or get_origin(kind) is Literal
