"""The `_meta` of documents: which operation it was, and where in the database it came from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from estuary_cdk.kits.sql_cdc.tables import TableId
from estuary_cdk.protocol.codec import encode_json

_LOCATION: Final = (
    "Location of this change: end of the transaction before it, its own LSN, and the LSN of its "
    "transaction's commit; for a row of a backfill -1, its number in the backfill, and 0."
)


def source_schema() -> dict[str, Any]:
    """Return the schema of `_meta/source`."""
    return {
        "type": "object",
        "properties": {
            "ts_ms": {
                "type": "integer",
                "description": "Unix timestamp (in millis) at which this event was recorded by "
                "the database.",
            },
            "schema": {"type": "string", "description": "Database schema of the event."},
            "snapshot": {
                "type": "boolean",
                "description": "Snapshot is true if the record was produced from a backfill.",
            },
            "table": {"type": "string", "description": "Database table of the event."},
            "loc": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 3,
                "maxItems": 3,
                "description": _LOCATION,
            },
            "txid": {
                "type": "integer",
                "description": "The 32-bit ID of the transaction that made the change.",
            },
            "lsn": {"type": "string", "description": "The LSN of the transaction's commit."},
            "tag": {"type": "string", "description": "The source tag of the capture's config."},
        },
        "required": ["schema", "table", "loc"],
    }


@dataclass(frozen=True, slots=True)
class Transaction:
    """The transaction of a change. `after` is the end of the one before it."""

    final_lsn: int
    ts_ms: int
    xid: int
    after: int


@dataclass(frozen=True, slots=True)
class Heads:
    """Beginnings and end of `_meta` for the changes of one table in one transaction."""

    create: bytes
    update: bytes
    delete: bytes
    tail: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """What goes into `_meta/source`. `detailed` are tables whose collections ask for the rest."""

    tag: str = ""
    with_txid: Collection[TableId] = ()
    with_lsn: Collection[TableId] = ()

    def heads(self, table: TableId, transaction: Transaction) -> Heads:
        """Return what surrounds the LSN of a change."""
        schema, name = map(encode_json, table)
        head = b'"source":{"ts_ms":%d,"schema":%b,"table":%b,"loc":[%d,' % (
            transaction.ts_ms,
            schema,
            name,
            transaction.after,
        )
        tail = b",%d]" % transaction.final_lsn
        if table in self.with_txid:
            tail += b',"txid":%d' % transaction.xid
        if table in self.with_lsn:
            tail += b',"lsn":"%b"' % lsn_text(transaction.final_lsn).encode()
        return Heads(
            b'{"op":"c",' + head,
            b'{"op":"u",' + head,
            b'{"op":"d",' + head,
            tail + self._tagged() + b"}}",
        )

    def snapshot(self, table: TableId) -> tuple[bytes, bytes]:
        """Return what surrounds the number of a backfilled row in its `_meta`."""
        schema, name = map(encode_json, table)
        return (
            b'{"op":"c","source":{"schema":%b,"snapshot":true,"table":%b,"loc":[-1,'
            % (schema, name),
            b",0]%b}}" % self._tagged(),
        )

    def _tagged(self) -> bytes:
        return b',"tag":' + encode_json(self.tag) if self.tag else b""


def lsn_text(lsn: int) -> str:
    """Spell an LSN as PostgreSQL does."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """Read an LSN; raises ValueError for what isn't one."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def asked_for(collections: Mapping[TableId, Collection[str]], pointer: str) -> frozenset[TableId]:
    """Return the tables whose collections project `pointer`."""
    return frozenset(table for table, pointers in collections.items() if pointer in pointers)
