import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from flow_local.collections import Batch, Published, Stamper, are_plain, producer_id, published_s
from flow_local.collections.uuids import UNIX_EPOCH_TICKS, ticks_of, uuid_text

PRODUCER = bytes.fromhex("071353030311")
NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def test_the_reference_vector():
    ticks = UNIX_EPOCH_TICKS + 3603 * 10_000_000
    assert uuid_text(ticks, PRODUCER) == b"770f6b80-1dda-11b2-8000-071353030311"
    assert Published().at(b'"770f6b80-1dda-11b2-8000-071353030311"') == b'"1970-01-01T01:00:03Z"'


@given(st.datetimes(datetime(1971, 1, 1), datetime(2500, 1, 1)), st.integers(0, 15))
def test_a_uuid_says_when_and_by_whom(moment, counter):
    moment = moment.replace(tzinfo=UTC)
    text = uuid_text(ticks_of(moment), PRODUCER, counter)
    parsed = uuid.UUID(text.decode())
    assert parsed.version == 1
    assert parsed.variant == uuid.RFC_4122
    assert parsed.time == ticks_of(moment)
    assert parsed.node.to_bytes(6, "big") == PRODUCER
    published = msgspec.json.decode(Published().at(b'"%b"' % text))
    fraction = published.removesuffix("Z").partition(".")[2].ljust(9, "0")
    assert datetime.fromisoformat(published[:19] + "Z") == moment.replace(microsecond=0)
    assert int(fraction) == moment.microsecond * 1000 + counter


def test_when_a_stamped_document_was_published_is_told():
    line = Stamper(PRODUCER).stamped([b'{"id":1,"_meta":{"op":"c"}}'], NOW)
    assert published_s(line) == NOW.timestamp()
    assert published_s(b'{"id":1}') is None
    assert published_s(b'{"_meta":{"uuid":"DocUUIDPlaceholder-329Bb50aa48EAa9ef"}}') is None


def test_what_is_no_uuid_is_refused():
    for text in (b'"DocUUIDPlaceholder-329Bb50aa48EAa9ef"', b"null", b'"abc"', b"17"):
        with pytest.raises(DataError, match="can't tell when a document was published"):
            Published().at(text)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 5)), max_size=8))
def test_times_ascend_even_if_the_machines_clock_does_not(batches):
    stamper, clocks, given_out = Stamper(PRODUCER), [], []
    for seconds, count in batches:
        documents = stamper.stamped([b"{}"] * count, NOW + timedelta(seconds=seconds))
        given_out += [
            uuid.UUID(msgspec.json.decode(d)["_meta"]["uuid"]).time for d in documents.splitlines()
        ]
        clocks.append(stamper.clock)
        stamper = Stamper(PRODUCER, stamper.clock)  # A restart.
    assert given_out == sorted(set(given_out))
    assert clocks == sorted(clocks)


def test_times_run_on_where_their_low_bits_overflow():
    clock = (ticks_of(NOW) | 0xFFFFFFFF) - 2
    documents = Stamper(PRODUCER, clock).stamped([b"{}"] * 5, NOW)
    times = [
        uuid.UUID(msgspec.json.decode(d)["_meta"]["uuid"]).time for d in documents.splitlines()
    ]
    assert times == list(range(clock + 1, clock + 6))


def test_producers_are_multicast_and_differ():
    first, second = producer_id(), producer_id()
    assert first[0] & 1
    assert len(first) == 6
    assert first != second


UUID = uuid_text(ticks_of(NOW), PRODUCER)


STAMPED = [
    (b'{"_meta":{"op":"c"},"id":1.0}', b'{"_meta":{"uuid":"U","op":"c"},"id":1.0}'),
    (b'{"id":1e3,"_meta":{"op":"c"}}', b'{"id":1e3,"_meta":{"uuid":"U","op":"c"}}'),
    (b'{"id": 1}', b'{"_meta":{"uuid":"U"},"id": 1}'),
    (b"{}", b'{"_meta":{"uuid":"U"}}'),
    (b'{ "id":1}', b'{"_meta":{"uuid":"U"},"id":1}'),
    (b'{"_meta":{}}', b'{"_meta":{"uuid":"U"}}'),
    (b'{"_meta":{ },"a":[1.0]}', b'{"_meta":{"uuid":"U"},"a":[1.0]}'),
    (b'{"_meta":{"uuid":"old","op":"d"}}', b'{"_meta":{"uuid":"U","op":"d"}}'),
    (b'{"_meta":{"op":"d","\\u0075uid":"old"}}', b'{"_meta":{"uuid":"U","op":"d"}}'),
    (b'{"uuid":"mine"}', b'{"_meta":{"uuid":"U"},"uuid":"mine"}'),
    (b'{"\\u005fmeta":{"a":1}}', b'{"_meta":{"uuid":"U","a":1}}'),
    (b'{"x":{"_meta":{"a":1}}}', b'{"_meta":{"uuid":"U"},"x":{"_meta":{"a":1}}}'),
    (b'{"x":"_meta"}', b'{"_meta":{"uuid":"U"},"x":"_meta"}'),
    (
        b'{"x":{"_meta":{"a":1}},"_meta":{"b":1}}',
        b'{"_meta":{"uuid":"U","b":1},"x":{"_meta":{"a":1}}}',
    ),
    (
        b'{"n":123456789012345678901234567890,"_meta":{"f":1.50}}',
        b'{"n":123456789012345678901234567890,"_meta":{"uuid":"U","f":1.50}}',
    ),
]
DOCUMENTS = [document for document, _ in STAMPED]


@pytest.mark.parametrize(("document", "stamped"), STAMPED)
def test_only_the_uuid_changes(document, stamped):
    [result] = Stamper(PRODUCER).stamped([document], NOW).splitlines()
    assert result.replace(UUID, b"U") == stamped


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("_meta"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["_meta", "uuid", "a", "\n"]) | st.text(), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["_meta", "uuid", "a", '"', "é"]), json_values))
def test_any_document_keeps_all_else(document):
    text = msgspec.json.encode(document)
    if not isinstance(document.get("_meta", {}), dict):
        with pytest.raises(DataError, match="can't stamp document"):
            Stamper(PRODUCER).stamped([text], NOW)
        return
    [result] = Stamper(PRODUCER).stamped([text], NOW).split(b"\n")[:-1]
    expected = {**document, "_meta": {**document.get("_meta", {}), "uuid": UUID.decode()}}
    assert msgspec.json.decode(result) == expected


@given(st.lists(st.sampled_from([*DOCUMENTS])))
def test_documents_of_all_kinds_make_a_block(documents):
    block = Stamper(PRODUCER).stamped(documents, NOW)
    alone = Stamper(PRODUCER)
    assert block == b"".join(alone.stamped([document], NOW) for document in documents)
    assert block.count(b"\n") == len(documents)


@given(st.lists(st.sampled_from([*DOCUMENTS]), min_size=1), st.sampled_from([b'{"_meta":{"', b"{"]))
def test_a_batch_is_stamped_as_its_documents_are(documents, opening):
    documents = [each for each in documents if each.startswith(opening) and each.endswith(b"}")]
    middles = [each[len(opening) : -1] for each in documents]
    plain = are_plain(opening, b"\n".join(documents))
    batch = Batch(middles, 1, opening, b"}", None, plain)
    stamped = Stamper(PRODUCER).stamped_batch(batch, NOW)
    assert stamped == Stamper(PRODUCER).stamped(documents, NOW)


def test_a_batch_is_stamped_across_the_low_bits_of_time():
    clock = ticks_of(NOW) // 0x1_0000_0000 * 0x1_0000_0000 + 0xFFFF_FFFD
    batch = Batch([b'"n":%d}' % number for number in range(5)], 1, b'{"_meta":{"', b"}", None, True)
    first, second = Stamper(PRODUCER, clock), Stamper(PRODUCER, clock)
    earlier = NOW - timedelta(days=1)
    stamped = first.stamped_batch(batch, earlier)
    assert stamped == second.stamped(batch.documents(), earlier)
    assert first.clock == second.clock == clock + 5


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2500, 1, 1)),
    st.lists(st.tuples(st.integers(0, 30_000_000), st.integers(0, 1)), min_size=1),
)
def test_many_uuids_say_what_each_says(moment, steps):
    start = ticks_of(moment.replace(tzinfo=UTC))
    texts = [uuid_text(start + ticks, PRODUCER, counter) for ticks, counter in steps]
    neighbours = [uuid_text(start + ticks, PRODUCER) for ticks in range(25)]
    for uuids in (texts, neighbours):
        quoted = [b'"%b"' % each for each in uuids]
        assert Published().all_at(quoted) == [Published().at(each) for each in quoted]


def test_what_is_no_uuid_among_many_is_refused():
    good = b'"%b"' % uuid_text(ticks_of(NOW), PRODUCER)
    for bad in (b"null", b'"' + b"x" * 36 + b'"', good[:1] + b"zz" + good[3:]):
        for uuids in ([good, bad], [bad, good]):
            with pytest.raises(DataError, match="can't tell when a document was published"):
                Published().all_at(uuids)
