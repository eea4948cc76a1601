"""Runs of messages as batches."""

import base64

import pytest
from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.materialize import Binding, Field
from estuary_cdk.materialize.batches import keys_of, stores_of
from estuary_cdk.protocol.materialize import Load, Store
from estuary_cdk.protocol.packed import pack
from estuary_cdk.testing.selection import required


def binding(index, *, delta=False, document=True):
    key = Field("id", "id", "/id", required("integer"), is_key=True)
    root = Field("flow_document", "flow_document", "", required("object"))
    return Binding(
        index, None, (str(index),), "c", (key,), (), root if document else None, delta, 0, "k"
    )


BINDINGS = [binding(0), binding(1), binding(2, delta=True), binding(3, document=False)]


def test_keys_are_cut_where_the_binding_changes():
    loads = [Load(binding=b, key=Raw(k)) for b, k in [(0, b"[1]"), (0, b"[2]"), (1, b"[1.0]")]]
    found = [(keys.binding, keys.keys) for keys in keys_of(loads, BINDINGS)]
    assert found == [(0, [b"[1]", b"[2]"]), (1, [b"[1.0]"])]


def packed(*values):
    return base64.b64encode(pack(values)).decode()


def test_packed_keys_are_unpacked_only_where_there_is_no_json():
    loads = [
        Load(key=Raw(b"[ 1.0 ]"), key_packed=packed(1)),
        Load(key_packed=packed(2**64 - 1, "a", None, Raw(b'{"x":1.0}'))),
    ]
    [keys] = keys_of(loads, BINDINGS)
    assert keys.keys == [b"[ 1.0 ]", b'[18446744073709551615,"a",null,{"x":1.0}]']


def test_stores_keep_the_bytes_of_documents():
    document = b'{ "id" : 1, "n": 1e3 }'
    stores = [
        Store(key=Raw(b"[1]"), values=Raw(b"[]"), doc=Raw(document), exists=True, delete=True)
    ]
    [batch] = stores_of(stores, BINDINGS)
    assert batch.documents == [document]
    assert (batch.exists, batch.deletes, len(batch)) == ([True], [True], 1)


def test_a_binding_without_a_document_gets_none():
    stores = [Store(binding=3, key=Raw(b"[1]"), values=Raw(b"[]"))]
    [batch] = stores_of(stores, BINDINGS)
    assert batch.documents is None


@pytest.mark.parametrize("text", ["Aw==", "FQ", "IQ==", "AmE="])
def test_keys_that_dont_unpack_are_refused(text):
    with pytest.raises(RemoteProtocolError, match="packed key"):
        list(keys_of([Load(key_packed=text)], BINDINGS))


@pytest.mark.parametrize("index", [-1, 4])
def test_bindings_that_arent_there_are_refused(index):
    with pytest.raises(RemoteProtocolError, match=f"binding {index}"):
        list(keys_of([Load(binding=index, key=Raw(b"[1]"))], BINDINGS))


def test_loads_of_delta_updates_are_refused():
    with pytest.raises(RemoteProtocolError, match="delta updates"):
        list(keys_of([Load(binding=2, key=Raw(b"[1]"))], BINDINGS))


def test_a_document_that_is_missing_is_refused():
    with pytest.raises(RemoteProtocolError, match="no doc"):
        list(stores_of([Store(key=Raw(b"[1]"), values=Raw(b"[]"))], BINDINGS))
