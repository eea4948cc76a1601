"""Addresses of PostgreSQL servers: host or host:port, and which of them are poolers."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

PORT: Final = 5432
PORT_MAX: Final = 65535

_BRACKETED: Final = re.compile(r"\[([^\]]+)\](?::(\d+))?")
# Where a port means that a pooler answers, and who has such hosts.
_SUPABASE: Final = re.compile(r"(?:.*\.pooler\.supabase\.com|.*\.supabase\.co:6543)(?::\d+)?")
_NEON: Final = re.compile(r"[^.]+-pooler\..*\.neon\.tech(?::\d+)?")


def host_and_port(address: str) -> tuple[str, int]:
    """Take an address apart; an IPv6 address with a port stands in brackets.

    Raises ValueError for a port that isn't one.
    """
    bracketed = _BRACKETED.fullmatch(address)
    if bracketed:
        return bracketed[1], _port(bracketed[2] or str(PORT))
    host, colon, port = address.rpartition(":")
    if not colon or ":" in host:
        return address, PORT
    return host, _port(port)


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= PORT_MAX:
        raise ValueError(f"{text!r} is no port: write a number up to {PORT_MAX}")
    return int(text)


def checked(address: str) -> str:
    """Return an address that can be dialled, without the blanks around it.

    Raises ValueError for one that is missing, has no host, a wrong port or a scheme before it, and
    for the poolers of well-known hosts: sessions and replication need the server itself.
    """
    address = address.strip()
    if not address:
        raise ValueError("missing 'address'")
    if "://" in address or "/" in address:
        raise ValueError(f"{address!r} is no address: write host or host:port, without a scheme")
    host, _ = host_and_port(address)
    if not host:
        raise ValueError(f"{address!r} has no host: write host or host:port")
    if _SUPABASE.fullmatch(address.lower()):
        raise ValueError(
            f"address must be a direct connection: address {address!r} is using the Supabase "
            "connection pooler, consult go.estuary.dev/supabase-direct-address for details"
        )
    if _NEON.fullmatch(address.lower()):
        raise ValueError(
            f"address must be a direct connection: address {address!r} is using the Neon "
            "connection pooler, leave out '-pooler' of the host"
        )
    return address


Address = Annotated[str, AfterValidator(checked)]
"""The type of an endpoint config's `address`."""
