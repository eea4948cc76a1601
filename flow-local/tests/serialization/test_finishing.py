import base64

import msgspec
import pytest

from estuary_cdk.protocol import packed
from estuary_cdk.protocol.codec import Stores, store_block, store_heads, store_lines
from estuary_cdk.protocol.flow import CollectionSpec, Projection, SerPolicy
from estuary_cdk.protocol.materialize import FieldSelection, MaterializationBinding
from flow_local.serialization import Finishing

SHORT = b'{"id":1,"n":1e3}'
LONG = b'{"id":2,"n":"' + b"x" * 50 + b'"}'


def binding(policy: SerPolicy | None) -> MaterializationBinding:
    mark = Projection(ptr="/_meta/flow_truncated", field="cut")
    return MaterializationBinding(
        collection=CollectionSpec(name="acme/a", projections=[mark]),
        field_selection=FieldSelection(keys=["id"], values=["cut", "n"], document="doc"),
        ser_policy=policy,
    )


def stores(values=(b"false,1e3", b'false,"' + b"x" * 50 + b'"'), documents=(SHORT, LONG)) -> bytes:
    columns = Stores(
        keys=[[b"1", b"2"]],
        packed=[b"\x15\x01", b"\x15\x02"],
        values=[list(values)],
        documents=list(documents) if documents else None,
    )
    return store_block(store_heads(store_lines(1, columns)), [3, 1])


def decoded(lines: bytes) -> list[dict]:
    return [msgspec.json.decode(line)["store"] for line in lines.splitlines()]


def test_what_is_cut_is_marked_and_what_is_not_keeps_its_bytes():
    before = stores()
    after = Finishing(binding(SerPolicy(str_truncate_after=40)), packs=False).finished(before)
    assert after.splitlines()[0] == before.splitlines()[0]
    assert decoded(after)[1] == {
        "binding": 1,
        "key": [2],
        "keyPacked": "FQI=",
        "values": [True, "x" * 40],
        "doc": {"id": 2, "n": "x" * 40},
        "exists": True,
    }


def test_a_document_that_is_cut_is_marked_though_its_values_are_not():
    before = stores(values=(b"false,1", b"false,2"))
    after = Finishing(binding(SerPolicy(str_truncate_after=40)), packs=False).finished(before)
    assert [store["values"] for store in decoded(after)] == [[False, 1], [True, 2]]


@pytest.mark.parametrize("policy", [None, SerPolicy(65536, 1000, 1000)])
def test_what_needs_no_finish_is_not_touched(policy):
    before = stores()
    assert Finishing(binding(policy), packs=False).finished(before) is before


def test_packed_values_are_those_that_are_plain_once_cut():
    finishing = Finishing(binding(SerPolicy(str_truncate_after=40)), packs=True)
    first, second = decoded(finishing.finished(stores(documents=None)))
    assert packed.unpack(base64.b64decode(first["valuesPacked"])) == [False, 1000]
    assert packed.unpack(base64.b64decode(second["valuesPacked"])) == [True, "x" * 40]
    assert (first["exists"], first["delete"], second["exists"]) == (True, True, True)
    assert "doc" not in first
