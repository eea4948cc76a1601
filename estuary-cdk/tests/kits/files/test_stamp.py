"""Metadata goes in front of every record."""

from estuary_cdk.kits.files import stamped


def test_documents_begin_with_their_metadata():
    assert stamped([b'"a":1.0}', b"}"], 'a "b".csv', 7, "c") == [
        b'{"_meta":{"op":"c","file":"a \\"b\\".csv","offset":7},"a":1.0}',
        b'{"_meta":{"op":"c","file":"a \\"b\\".csv","offset":8}}',
    ]


def test_a_records_own_metadata_is_merged():
    assert stamped([b'"x":1e3,"_meta":{"op":"z","uuid":"u"}}'], "f", 0, "u") == [
        b'{"_meta":{"op":"u","file":"f","offset":0,"uuid":"u"},"x":1e3}'
    ]
    assert stamped([b'"_meta":5}'], "f", 0, "u") == [b'{"_meta":{"op":"u","file":"f","offset":0}}']


def test_metadata_further_down_is_left_alone():
    assert stamped([b'"x": {"_meta":1}}'], "f", 0, "d") == [
        b'{"_meta":{"op":"d","file":"f","offset":0},"x": {"_meta":1}}'
    ]
