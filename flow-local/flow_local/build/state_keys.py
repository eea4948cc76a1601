"""State keys: the name under which a binding's state is kept until its next backfill."""

import string
from collections.abc import Sequence
from typing import Final

_KEPT: Final = frozenset("-_+.=" + string.ascii_letters + string.digits)


def state_key(resource_path: Sequence[str], backfill: int) -> str:
    """Return a binding's state key.

    The joined path with all but letters, digits and `-_+.=` percent-encoded (the joining slashes
    too), then `.v` and the backfill counter unless that is 0.
    """
    encoded = "".join(_encoded(character) for character in "/".join(resource_path))
    return f"{encoded}.v{backfill}" if backfill else encoded


def _encoded(character: str) -> str:
    if character in _KEPT or (not character.isascii() and character.isalnum()):
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())
