"""JSON arrays become the lines of CSV that spell the same values."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.sql import ColumnType, TargetColumn, csv_rows, readings

COLUMNS = [
    TargetColumn(reading, ColumnType("T", getattr(readings, reading)))
    for reading in ("INT64", "TEXT", "BOOLEAN", "DOUBLE", "JSON_TEXT")
]
text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["null", "\\", '"', "\\n", "\n", "\r\n", "\t", ",", "\\.", "\x00", "\x01", "a\\\nb\\\\n"]
)
rows = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | text,
        st.none() | st.booleans(),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.lists(text) | st.dictionaries(text, st.integers()),
    ),
    min_size=1,
)


def parsed(block: bytes) -> list[list[str | None]]:
    """Read CSV as a database does: QUOTE '"', ESCAPE '\\', NULL 'null'."""
    lines: list[list[str | None]] = [[]]
    value, quoted, inside, escaped = "", False, False, False
    for character in block.decode():
        if escaped:
            value, escaped = value + character, False
        elif inside and character == "\\":
            escaped = True
        elif character == '"':
            inside, quoted = not inside, True
        elif character in ",\n" and not inside:
            lines[-1].append(value if quoted or value != "null" else None)
            value, quoted = "", False
            if character == "\n":
                lines.append([])
        else:
            value += character
    assert lines.pop() == []
    return lines


def spelled(value) -> str | None:
    if value is None or isinstance(value, str):
        return value and value.replace("\x00", "\ufffd")
    return msgspec.json.encode(value).decode()


@given(rows)
def test_values_are_read_back_as_they_were(found):
    arrays = [msgspec.json.encode(row) for row in found]
    assert parsed(csv_rows("t", COLUMNS)(arrays, None)) == [
        list(map(spelled, row)) for row in found
    ]


@given(rows, st.data())
def test_documents_stand_beside_them_byte_for_byte(found, data):
    arrays = [msgspec.json.encode(row) for row in found]
    documents = [
        msgspec.json.encode(data.draw(st.dictionaries(text, text, max_size=3))) for _ in found
    ]
    lines = parsed(csv_rows("t", COLUMNS)(arrays, documents))
    assert [line[-1].encode() for line in lines] == documents
    assert [line[:-1] for line in lines] == [list(map(spelled, row)) for row in found]


def test_documents_keep_spaces_tabs_and_escapes():
    [line] = parsed(csv_rows("t", COLUMNS[:1])([b"[1]"], [b'{ "a" :\t"\\u0000\\n" }']))
    assert line == ["1", '{ "a" :\t"\\u0000\\n" }']


def test_patience_finds_a_value_for_each_row_or_names_the_column():
    csv_of = csv_rows("t", COLUMNS[:2])
    assert csv_of([b'[1.0,"a"]', b'[1e3,"b"]'], None) == b'1,"a"\n1000,"b"\n'
    with pytest.raises(DataError, match=r"column 'INT64' of table 't': 'true'"):
        csv_of([b'[1,"a"]', b'[true,"b"]'], None)


def test_no_rows_are_no_lines():
    assert csv_rows("t", COLUMNS)([], []) == b""
