"""JSON pointers (RFC 6901) as tokens, and the exact bytes of the value one names.

A token made of digits without a leading zero is an index where the value is an array and a property
where it is an object; `-` is a property of an object and nothing in an array.
"""

import re
from collections.abc import Iterable

import msgspec

from estuary_cdk.errors import ConfigError

Tokens = tuple[str, ...]

_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z", re.ASCII)
_UNNAMEABLE = re.compile(r'["\\\x00-\x1f]')
_BAD_ESCAPE = re.compile(r"~(?![01])")
_properties = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])


def tokens(pointer: str) -> Tokens:
    """Split a pointer into its decoded tokens; "" is the document itself.

    Raises ConfigError where the pointer isn't one.
    """
    if pointer == "":
        return ()
    if not pointer.startswith("/"):
        raise ConfigError(
            f"can't read JSON pointer {pointer!r}: it doesn't start with '/'",
            hint=f"write {'/' + pointer!r}",
        )
    if _BAD_ESCAPE.search(pointer):
        raise ConfigError(
            f"can't read JSON pointer {pointer!r}: '~' must be written '~0' (and '/' as '~1')"
        )
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))


def joined(parts: Iterable[str | int]) -> str:
    """Return the pointer made of these tokens, escaped."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def index(token: str) -> int | None:
    """Return the array index a token means, or None."""
    return int(token) if _INDEX.match(token) else None


def is_nameable(token: str) -> bool:
    """Tell whether msgspec can have a field of this name."""
    return _UNNAMEABLE.search(token) is None


def located(document: bytes, path: Tokens) -> bytes | None:
    """Return the exact bytes of the value at `path`, or None where there is none.

    Raises msgspec.DecodeError where the document isn't JSON.
    """
    value = document
    for token in path:
        kind = value.lstrip()[:1]
        found: msgspec.Raw | None = None
        if kind == b"{":
            found = _properties.decode(value).get(token)
        elif kind == b"[" and (position := index(token)) is not None:
            items = _items.decode(value)
            found = items[position] if position < len(items) else None
        if found is None:
            return None
        value = bytes(found)
    return value
