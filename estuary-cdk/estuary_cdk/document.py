"""What a document is while it is on its way: JSON text of one object, with `_meta` spliced in.

A connector may give a document as a model, as a mapping or as JSON text. Text stays as it is, byte
for byte: `_meta` goes in front, and only a document that has a `_meta` of its own is taken apart.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw
from pydantic import BaseModel, ConfigDict, Field

from estuary_cdk.errors import ContractError, DataError, shortened
from estuary_cdk.protocol.codec import encode_json

Op = Literal["c", "u", "d"]
Item = BaseModel | Mapping[str, Any] | bytes

_SHALLOW: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


class Meta(BaseModel):
    """What the kit says of a document: was it created, updated or deleted, and as which row."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    op: Op = Field(default="u", description="Operation: created (c), updated (u) or deleted (d).")
    row_id: int = Field(
        default=-1, description="Position in a snapshot, counted from 0; otherwise -1."
    )


class Document(BaseModel):
    """A document of any shape; subclasses name the fields that are known.

    A `meta_` that isn't set is filled in by the kit.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True, defer_build=True)

    meta_: Meta = Field(default=Meta(), alias="_meta", description="Of the document itself.")


def encoded(item: Item) -> bytes:
    """Return the JSON text of a document; text is returned as it is.

    Of a model only what was set is written. Raises ContractError for what isn't a document.
    """
    if isinstance(item, bytes):
        return item
    if isinstance(item, BaseModel):
        return item.model_dump_json(by_alias=True, exclude_unset=True).encode()
    if isinstance(item, Mapping):
        return encode_json(item)
    raise ContractError(
        f"can't emit {shortened(item, 100)}: it is no document",
        hint="yield a Document, a mapping, JSON text as bytes, or a list of these",
    )


def stamped(document: bytes, meta: bytes) -> bytes:
    """Return a document with `meta`, the JSON text of an object with members, as its `_meta`.

    Members of a `_meta` that the document already has win, the others are added. Raises DataError
    for text that isn't an object.
    """
    if b'"_meta"' in document or document[:1] != b"{" or document[1:2] != b'"':
        return _restamped(document, meta)
    return b'{"_meta":%b,%b' % (meta, document[1:])


def _restamped(document: bytes, meta: bytes) -> bytes:
    try:
        members = _SHALLOW.decode(document)
        own: dict[str, Raw] = _SHALLOW.decode(members.pop("_meta", Raw(b"{}")))
        added: dict[str, Raw] = _SHALLOW.decode(meta)
    except msgspec.MsgspecError as error:
        raise DataError(
            f"can't capture {shortened(document[:200])}: it isn't the JSON text of an object"
        ) from error
    both: dict[str, Raw] = {**added, **own}
    return encode_json({"_meta": both, **members})


def meta_json(op: Op, row_id: int | None = None) -> bytes:
    """Return the JSON text of a `_meta`."""
    if row_id is None:
        return b'{"op":"%b"}' % op.encode()
    return b'{"op":"%b","row_id":%d}' % (op.encode(), row_id)
