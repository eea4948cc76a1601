"""The last touch to stores that are spelt out: truncation, and values in their packed form.

Only what may be too long is taken apart, so that a policy costs next to nothing where documents are
small. Packed values are for connectors that read nothing else: they cost a few microseconds each.
"""

import binascii

import msgspec
from msgspec import Raw

from estuary_cdk.protocol import packed
from estuary_cdk.protocol.flow import SerPolicy
from estuary_cdk.protocol.materialize import MaterializationBinding
from flow_local.schema.projections import TRUNCATED_POINTER
from flow_local.serialization.truncation import Truncation


class _Store(msgspec.Struct, rename="camel", omit_defaults=True):
    key: Raw
    key_packed: Raw
    values: list[Raw]
    values_packed: str = ""
    doc: Raw | msgspec.UnsetType = msgspec.UNSET
    exists: bool = False
    delete: bool = False
    binding: int = 0


class _Line(msgspec.Struct):
    store: _Store


_decode = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


class Finishing:
    """How stores of one binding leave; `packs` adds packed values to each.

    Where something of a store is cut, its values for `_meta/flow_truncated` say so. Keys stay.
    """

    def __init__(self, binding: MaterializationBinding, *, packs: bool) -> None:
        self._truncation = Truncation(binding.ser_policy or SerPolicy())
        self._packs = packs
        self._marks = _places(binding)

    def finished(self, lines: bytes) -> bytes:
        """Return lines, each of one store, as they are to be sent."""
        bytes_min = self._truncation.bytes_min
        if not self._packs and (not bytes_min or len(lines) < bytes_min):
            return lines
        stores = lines.split(b"\n")
        stores.pop()
        if not self._packs and max(map(len, stores), default=0) < bytes_min:
            return lines
        least = 0 if self._packs else bytes_min
        stores = [self._finished(line) if len(line) >= least else line for line in stores]
        return b"".join([line + b"\n" for line in stores])

    def _finished(self, line: bytes) -> bytes:
        store = _decode(line).store
        is_cut = self._cut(store)
        if not is_cut and not self._packs:
            return line
        if self._packs:
            code = packed.pack_json([bytes(value) for value in store.values])
            store.values_packed = binascii.b2a_base64(code, newline=False).decode()
        return _encode(_Line(store))

    def _cut(self, store: _Store) -> bool:
        """Cut a store's values and document to size; tell whether anything was cut."""
        truncation = self._truncation
        before = [bytes(value) for value in store.values]
        after = [truncation.value(value) for value in before]
        is_cut = any(new is not old for new, old in zip(after, before, strict=True))
        if isinstance(store.doc, Raw):
            document = bytes(store.doc)
            shorter = truncation.document(document)
            is_cut = is_cut or shorter is not document
            store.doc = Raw(shorter)
        if is_cut:
            for place in self._marks:
                after[place] = b"true"
        store.values = list(map(Raw, after))
        return is_cut


def _places(binding: MaterializationBinding) -> list[int]:
    """Return which values tell whether something was cut."""
    assert binding.collection is not None
    marks = {each.field for each in binding.collection.projections if each.ptr == TRUNCATED_POINTER}
    return [place for place, name in enumerate(binding.field_selection.values) if name in marks]
