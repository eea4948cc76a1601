from datetime import UTC, datetime, timedelta

import pytest

from estuary_cdk.errors import DataError
from flow_local.collections import Selection, Stamper

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
REGIONS = [b'{"id":1,"region":"eu"}', b'{"id":2,"region":"us"}', b'{"id":3,"region":"\\u0065u"}']
MIXED = [b'{"v":1}', b'{"v":true}', b'{"v":"1"}', b'{"v":null}', b"{}"]


def test_documents_of_partitions_are_chosen_in_their_order():
    include = {"/region": [b'"eu"', b'"af"']}
    assert Selection(include).chosen(REGIONS) == [REGIONS[0], REGIONS[2]]
    assert Selection(exclude=include).chosen(REGIONS) == [REGIONS[1]]
    assert Selection(include, {"/id": [b"3"]}).chosen(REGIONS) == [REGIONS[0]]
    assert Selection().chosen(REGIONS) == REGIONS
    assert Selection(include).chosen([]) == []


@pytest.mark.parametrize(
    ("value", "meant"), [(b"1", MIXED[:1]), (b"true", MIXED[1:2]), (b'"1"', MIXED[2:3])]
)
def test_values_of_different_types_are_different(value, meant):
    assert Selection({"/v": [value]}).chosen(MIXED) == meant


def test_documents_of_a_time_are_chosen_by_when_they_were_published():
    stamper = Stamper(b"\1" * 6)
    seconds = timedelta(seconds=1)
    documents = [
        stamper.stamped([b'{"id":%d}' % number], NOW + number * seconds).rstrip()
        for number in range(3)
    ]
    later = Selection(not_before=NOW + seconds)
    assert later.chosen(documents) == documents[1:]
    assert Selection(not_after=NOW + seconds).chosen(documents) == documents[:2]
    both = Selection(not_before=NOW + seconds, not_after=NOW + seconds)
    assert both.chosen(documents) == documents[1:2]
    assert [each.selects for each in (later, Selection())] == [True, False]


def test_a_document_without_a_time_can_not_be_chosen_by_it():
    with pytest.raises(DataError, match="can't tell when a document was published"):
        Selection(not_before=NOW).chosen([b'{"id":1}'])
