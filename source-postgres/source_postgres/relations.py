"""Tables as the stream of changes describes them."""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from estuary_cdk.kits.sql_cdc.tables import TableId

_UINT16: Final = Struct(">H").unpack_from
_UINT32: Final = Struct(">I").unpack_from


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the stream describes it."""

    oid: int
    id: TableId
    identity: str
    names: tuple[str, ...]
    type_oids: tuple[int, ...]
    keys: tuple[bool, ...]


def relation(data: bytes, at: int) -> Relation:
    """Read a Relation message."""
    [oid] = _UINT32(data, at)
    namespace, at = _text(data, at + 4)
    name, at = _text(data, at)
    identity = chr(data[at])
    [count] = _UINT16(data, at + 1)
    at += 3
    names, types, keys = [], [], []
    for _ in range(count):
        keys.append(bool(data[at] & 1))
        column, at = _text(data, at + 1)
        names.append(column)
        types.append(_UINT32(data, at)[0])
        at += 8
    return Relation(
        oid, (namespace or "pg_catalog", name), identity, tuple(names), tuple(types), tuple(keys)
    )


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1
