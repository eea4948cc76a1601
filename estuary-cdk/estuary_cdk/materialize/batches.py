"""Runs of load and store messages as batches of bytes, one binding each.

A runtime spells keys and values as JSON, or packed, or both; here they are always JSON array text.
The JSON is taken where it is there, for it keeps the spelling of numbers.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.materialize.bindings import Binding
from estuary_cdk.materialize.patterns import Keys, Stores
from estuary_cdk.protocol.codec import encode_json, texts
from estuary_cdk.protocol.materialize import Load, Store
from estuary_cdk.protocol.packed import unpack

_binding_of: Callable[[Any], int] = attrgetter("binding")
_key_of: Callable[[Any], Raw] = attrgetter("key")
_values_of: Callable[[Any], Raw] = attrgetter("values")
_document_of: Callable[[Any], Raw] = attrgetter("doc")
_exists_of: Callable[[Any], bool] = attrgetter("exists")
_delete_of: Callable[[Any], bool] = attrgetter("delete")


def keys_of(loads: Sequence[Load], bindings: Sequence[Binding[Any]]) -> Iterator[Keys]:
    """Yield the keys of loads, in order.

    Raises RemoteProtocolError for a binding that isn't there or takes delta updates.
    """
    for index, run in _by_binding(loads, bindings, "load"):
        if bindings[index].delta_updates:
            raise RemoteProtocolError(
                f"can't load a key of binding {index}: it takes delta updates"
            )
        yield Keys(index, _keys(run))


def stores_of(stores: Sequence[Store], bindings: Sequence[Binding[Any]]) -> Iterator[Stores]:
    """Yield the documents of stores, in order.

    Raises RemoteProtocolError for a binding that isn't there or a document that is missing.
    """
    for index, run in _by_binding(stores, bindings, "store"):
        yield Stores(
            binding=index,
            keys=_keys(run),
            values=_values(run, bindings[index]),
            documents=_documents(run, bindings[index]),
            exists=list(map(_exists_of, run)),
            deletes=list(map(_delete_of, run)),
        )


def _by_binding(
    messages: Sequence[Any], bindings: Sequence[Binding[Any]], name: str
) -> Iterator[tuple[int, list[Any]]]:
    indexes = list(map(_binding_of, messages))
    runs: Iterable[tuple[int, Iterable[Any]]] = [(index, messages) for index in indexes[:1]]
    if indexes.count(indexes[0]) != len(indexes):
        runs = groupby(messages, key=_binding_of)
    for index, run in runs:
        if not 0 <= index < len(bindings):
            raise RemoteProtocolError(f"can't {name} for binding {index}: there is no such binding")
        yield index, list(run)


def _keys(run: list[Any]) -> list[bytes]:
    keys = texts(list(map(_key_of, run)))
    if not all(keys):
        keys = [key or unpacked(message.key_packed) for key, message in zip(keys, run, strict=True)]
    return keys


def _values(run: list[Store], binding: Binding[Any]) -> list[bytes]:
    values = list(map(bytes, map(_values_of, run)))
    if not all(values):
        values = [
            each or unpacked(store.values_packed) for each, store in zip(values, run, strict=True)
        ]
        # Only a binding that selects no values can leave them out.
        if binding.values and b"[]" in values:
            raise RemoteProtocolError(
                f"can't store a document of binding {binding.index}: it has no values"
            )
    return values


def _documents(run: list[Store], binding: Binding[Any]) -> list[bytes] | None:
    if binding.document is None:
        return None
    documents = list(map(bytes, map(_document_of, run)))
    if not all(documents):
        raise RemoteProtocolError(
            f"can't store a document of binding {binding.index}: the message has no doc"
        )
    return documents


def unpacked(text: str) -> bytes:
    """Return the JSON array text of a tuple given packed, in base64."""
    try:
        return encode_json(unpack(base64.b64decode(text)))
    except (ValueError, IndexError, binascii.Error) as error:
        raise RemoteProtocolError(f"can't read packed key {text[:200]!r}: {error}") from error
