"""Keys of rows packed from the text form of their columns: where a scan stands, and sorts by."""

from collections.abc import Callable, Sequence

from estuary_cdk.kits.sql_cdc.packing import Part, packed
from source_postgres.column_types import Mapped
from source_postgres.values import NULL


def pack_key(fields: Sequence[bytes], packers: Sequence[Callable[[bytes], Part]]) -> bytes:
    """Pack the text form of key columns."""
    return packed(
        [None if raw == NULL else pack(raw) for raw, pack in zip(fields, packers, strict=True)]
    )


def packer_of(mapped: Mapped) -> Callable[[bytes], Part]:
    """Return how the text form of a key column's value is packed."""
    kind = mapped.schema.get("type")
    if kind == "integer":
        return int
    if kind == "boolean":
        return lambda raw: raw == b"t"
    if mapped.schema.get("contentEncoding"):
        return lambda raw: bytes.fromhex(raw[2:].decode())
    return lambda raw: raw.decode()
