"""What every protocol message is: an immutable struct in which absent means default.

Fields whose JSON is opaque to the protocol (configs, schemas, documents, states) are `Raw`: their
bytes pass through untouched. `ABSENT` is the Raw of a field that isn't there.
"""

import msgspec
from msgspec import Raw

ABSENT = Raw()


class Message(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", eq=True
):
    """Base of every message and of every object inside one.

    Written in camelCase with default-valued fields left out; read by `codec`.
    """


def present(value: Raw) -> bool:
    """Tell whether a Raw field was there, with anything but `null` in it."""
    return value is not ABSENT and bytes(value) not in {b"", b"null"}
