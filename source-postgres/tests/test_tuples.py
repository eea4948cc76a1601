"""However rows are taken apart, they are what reading them field by field says."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from source_postgres.tuples import SPLIT_BYTES_MAX, UNCHANGED, Splitter, tuple_fields
from source_postgres.values import NULL

# What looks like the beginning of a field, or like the letter of one that is left out.
TEXT = st.text("tnu\x01é", max_size=6).map(str.encode)
SIZED = st.sampled_from([116, 255, 256, 0x7400, 0x7474, 0x6E00]).map(lambda size: b"t" * size)
FIELD = st.one_of(TEXT, TEXT, SIZED, st.just(NULL), st.just(UNCHANGED))


def written(fields: list[bytes]) -> bytes:
    """A row as the server writes it."""
    letters = {NULL: b"n", UNCHANGED: b"u"}
    return pack(">H", len(fields)) + b"".join(
        letters.get(field) or b"t" + pack(">I", len(field)) + field for field in fields
    )


def in_places(splitter: Splitter, messages: list[bytes], at: int) -> list[list[bytes]]:
    rows, rest = splitter.split(messages, at)
    found = {place: tuple_fields(messages[place], at)[0] for place in rest}
    for some in rows:
        for place, row in zip(some.places, zip(*some.columns, strict=True), strict=True):
            found[place] = list(row)
            assert {i for i, field in enumerate(row) if field == UNCHANGED} == {*some.left_out}
    assert sorted(found) == list(range(len(messages)))
    return [found[place] for place in range(len(messages))]


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.lists(FIELD, min_size=width, max_size=width), min_size=1, max_size=12),
            min_size=1,
            max_size=3,
        )
    ),
    # Positions and OIDs may look like the beginning of a field as well.
    st.sampled_from([b"", b"R\0\0", b"t\0\0", b"\0t\0\0N"]),
)
def test_rows_split_at_once_are_what_reading_each_says(batches, head):
    splitter = Splitter(len(batches[0][0]))
    for batch in batches:
        messages = [head + written(fields) for fields in batch]
        assert in_places(splitter, messages, len(head)) == batch


def test_the_one_pattern_of_a_table_leaves_no_row_to_be_read_by_itself():
    messages = [written([b"%d" % i, NULL, b"in", UNCHANGED]) for i in range(50)]
    [rows], rest = Splitter(4).split(messages, 0)
    assert (list(rows.places), rest, rows.left_out) == (list(range(50)), [], (3,))


def test_a_message_whose_sizes_could_be_taken_for_fields_is_read_field_by_field():
    # A size of 0x00740000 holds what begins a field.
    row = [b"x" * 0x740000, b"y"]
    assert len(row[0]) > SPLIT_BYTES_MAX
    assert in_places(Splitter(2), [written(row), written([b"1", b"2"])], 0) == [row, [b"1", b"2"]]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0\1b\0\0\0\1x", DataError),
        (b"\0\2t\0\0\0\1x", IndexError),
        (b"\0\1t\0\0\0\2x", IndexError),
    ],
)
def test_a_row_that_is_none_is_an_error(data, error):
    with pytest.raises(error):
        tuple_fields(data, 0)
