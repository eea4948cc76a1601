"""CSV files, cut anywhere, become typed objects; malformed ones a sentence."""

import csv
import io
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import csv_rows
from estuary_cdk.kits.files.csv_rows import CsvRows
from estuary_cdk.kits.files.options import CsvOptions


def parse(content, *, cuts=(), encoding="utf-8", **options):
    parser = CsvRows("f.csv", encoding, CsvOptions(**options))
    if isinstance(content, str):
        content = content.encode(encoding)
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    records = []
    for start, end in pairwise(edges):
        records += parser.feed(content[start:end])
    records += parser.finish()
    return [b"{" + record for record in records]


def values(content, **options):
    return [list(msgspec.json.decode(r).values()) for r in parse(content, **options)]


def outcome(content, **options):
    try:
        return parse(content, **options)
    except DataError as error:
        return str(error)


@settings(deadline=None)
@given(
    content=st.text(st.sampled_from('ab1,"\n\ré\U0001f600 '), max_size=80),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    threshold=st.sampled_from([0, 100]),
)
def test_the_outcome_does_not_depend_on_where_the_input_is_cut(content, cuts, threshold):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(csv_rows, "SAMPLE_CHARS", 12)
        patched.setattr(csv_rows, "BATCH_CHARS", 5)
        whole = outcome(content, errorThreshold=threshold)
        assert outcome(content, errorThreshold=threshold, cuts=cuts) == whole


cells = st.text(st.sampled_from('ab1,;"\n\r\\\té\x00\x85\u2028'), max_size=6)


@settings(deadline=None)
@example([["a", ",", 'b",'], [",", '","', "\\"], ["", ",", "x"]])
@given(rows=st.lists(st.lists(cells, min_size=3, max_size=3), max_size=12))
def test_what_csv_writes_comes_back_as_it_was(rows):
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["x", "y", "z"], *rows])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(csv_rows, "SAMPLE_CHARS", 20)
        patched.setattr(csv_rows, "BATCH_CHARS", 20)
        read = values(file.getvalue(), delimiter=",")
    # Numbers and missing values are typed; everything else is as it was.
    assert [[str("" if v is None else v) for v in row] for row in read] == rows


def test_cells_are_typed_by_column_and_numbers_keep_their_spelling():
    big = 123456789012345678901234567890
    content = f"i,big,f,b,s,id,e\n-1,{big},1.50,TRUE,x,007,\n"
    assert parse(content + "2,1,1e5,false,y,12,\n") == [
        b'{"i":-1,"big":%d,"f":1.50,"b":true,"s":"x","id":"007","e":null}' % big,
        b'{"i":2,"big":1,"f":1e5,"b":false,"s":"y","id":"12","e":null}',
    ]


def test_a_cell_that_does_not_fit_its_column_later_is_a_string(monkeypatch):
    monkeypatch.setattr(csv_rows, "SAMPLE_ROWS", 2)
    assert parse('n,b\n1,true\n2,False\nn/a,yes\n,\n"1\n2",true\n') == [
        b'{"n":1,"b":true}',
        b'{"n":2,"b":false}',
        b'{"n":"n/a","b":"yes"}',
        b'{"n":null,"b":null}',
        b'{"n":"1\\n2","b":true}',
    ]


def test_rows_outside_the_sample_do_not_decide_types():
    rows = ["1"] * 1000 + ["x"]
    assert parse("n\n" + "\n".join(rows))[0] == b'{"n":1}'
    assert parse("n\n" + "\n".join(rows[1:]))[0] == b'{"n":"1"}'


def test_names_are_made_unique_and_never_empty():
    assert parse(" a ,a,,a_2,_meta\n1,2,3,4,5\n") == [
        b'{"a":1,"a_2":2,"column_3":3,"a_2_2":4,"_meta_2":5}'
    ]


def test_given_headers_leave_the_first_row_a_row():
    assert parse("1,2\n", headers=["x", "y"]) == [b'{"x":1,"y":2}']


def test_short_rows_end_in_nulls_and_empty_lines_are_no_rows():
    assert values("\na,b\n\n1\n\n2,3\n") == [[1, None], [2, 3]]


@pytest.mark.parametrize("delimiter", [",", "|", " ", ";", "\t", "\x0b", "\x1f", "\x01"])
def test_every_delimiter_is_detected_and_can_be_set(delimiter):
    content = "a,b,c\nx,1,y\n".replace(",", delimiter)
    assert values(content) == [["x", 1, "y"]]
    assert values(content, delimiter=delimiter) == [["x", 1, "y"]]


def test_decimal_commas_do_not_pass_for_delimiters():
    assert values("a;b\n1,5;2,5\n") == [["1,5", "2,5"]]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\x1e"])
def test_every_line_ending_can_be_set(ending):
    content = f'a,b{ending}"1\n2",x{ending}3,y'
    assert values(content, lineEnding=ending) == [["1\n2", "x"], ["3", "y"]]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_are_detected_wherever_the_input_is_cut(ending):
    content = f"a,b{ending}1,x{ending}3,y{ending}"
    assert parse(content, cuts=range(40)) == [b'{"a":1,"b":"x"}', b'{"a":3,"b":"y"}']


@pytest.mark.parametrize(
    ("options", "content", "cell"),
    [
        ({"quote": "'"}, "a,b\n'x,''\"',1\n", "x,'\""),
        ({"quote": ""}, 'a,b\n"x,1\n', '"x'),
        ({"escape": "\\"}, 'a,b\n"x\\"y",1\n', 'x"y'),
    ],
)
def test_quotes_and_escapes_can_be_set(options, content, cell):
    assert values(content, **options) == [[cell, 1]]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('a,b\n"x\\"y,z",1\n', [['x"y,z', 1]]),
        ('a,b\n"C:\\",1\n"x""y",2\n', [["C:\\", 1], ['x"y', 2]]),
        ("a,b\n'x,y',1\n'it''s',2\nz,3\n", [["x,y", 1], ["it's", 2], ["z", 3]]),
        ("a,b\n'x\\'s, y',1\nz,2\n", [["x's, y", 1], ["z", 2]]),
        ("'a','b'\n'x','y'\n", [["x", "y"]]),
        ("a,b\n'x',1\n'tis,2\n", [["'x'", 1], ["'tis", 2]]),
        ("a,b\n'x',1\n", [["'x'", 1]]),
        ("a,b\n'tis,1\nit's,2\n", [["'tis", 1], ["it's", 2]]),
    ],
)
def test_quotes_and_escapes_are_detected_where_nothing_else_reads_the_rows(content, rows):
    assert values(content, cuts=range(0, len(content), 5)) == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "iso-8859-15", "windows-1252", "gbk"])
def test_encodings(encoding):
    text = "a,b\n\u4e2d,1\n" if encoding == "gbk" else "a,b\n\u20ac\xe9,1\n"
    assert values(text, encoding=encoding, cuts=range(30)) == [[text[4:-3], 1]]


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3, column 3", "the row has 3 cells, the header 2"),
        ('a,b\n"1\n2",x\n3,"y"z\n', "line 4, column 2", "',' expected after '\"'"),
        ('a,b\n1,x\n2,"y\n3,z\n', "line 3, column 2", "a quote is never closed"),
    ],
)
def test_a_malformed_row_is_named_by_file_line_and_column(content, place, reason):
    with pytest.raises(DataError) as caught:
        parse(content)
    assert caught.value.message == f"can't read 'f.csv' {place}: {reason}"


def test_lines_are_counted_across_batches(monkeypatch):
    monkeypatch.setattr(csv_rows, "SAMPLE_CHARS", 16)
    monkeypatch.setattr(csv_rows, "BATCH_CHARS", 16)
    with pytest.raises(DataError, match="line 102, column 3"):
        parse("a,b\n" + '"x\ny",1\n' * 50 + "1,2,3\n", cuts=range(400))


def counted(content, **options):
    parser = CsvRows("f.csv", "utf-8", CsvOptions(**options))
    return len(parser.feed(content.encode()) + parser.finish()), parser.malformed_rows


def test_the_error_threshold_leaves_out_malformed_rows_and_counts_them():
    bad = "1,2,3\n" * 10 + '"x"y,1\n' * 10
    content = "a,b\n" + "1,2\n" * 980 + bad
    assert counted(content, errorThreshold=2) == (980, 20)
    with pytest.raises(DataError, match="line 982, column 3"):
        counted(content, errorThreshold=1)


def test_the_error_threshold_holds_for_each_thousand_rows():
    good, bad = "1,2\n", "1,2,3\n"
    even = "a,b\n" + (good * 900 + bad * 100) * 3
    assert counted(even, errorThreshold=10) == (2700, 300)
    uneven = "a,b\n" + good * 2000 + good * 800 + bad * 200
    with pytest.raises(DataError, match="line 2802"):
        counted(uneven, errorThreshold=10)


def test_a_long_line_is_read_and_an_endless_one_refused(monkeypatch):
    monkeypatch.setattr(csv_rows, "BATCH_CHARS", 1000)
    long = "x" * 3_000_000
    assert values(f'a,b\n"{long}",1\n', cuts=range(0, 3_000_000, 9999)) == [[long, 1]]
    monkeypatch.setattr(csv_rows, "RECORD_CHARS_MAX", 1 << 21)
    with pytest.raises(DataError, match="line 2: the row is longer than"):
        parse(f'a,b\n"{long}"')


def test_an_escaped_quote_in_a_file_of_doubled_quotes_hints_at_the_option():
    with pytest.raises(DataError, match="escape"):
        parse('a,b\n"x""y",0\n"x\\"y",1\n')


def schema(content, **options):
    parser = CsvRows("f.csv", "utf-8", CsvOptions(**options))
    assert parser.schema is None
    parser.feed(content.encode())
    parser.finish()
    return msgspec.json.decode(parser.schema)


def test_the_first_rows_tell_a_closed_schema_without_texts():
    found = schema(
        "id,big,part,on,day,none\n1,99999999999999999999,1.0,true,2026-01-31,\n2,,2.5,,,\n"
    )
    one = {"minimum": 1, "maximum": 1}
    del found["properties"]["_meta"]
    assert found["additionalProperties"] is False
    assert found["properties"] == {
        "id": {"type": "integer", **one},
        "big": {"type": "integer", **one},
        "part": {"type": "number", **one},
        "on": {"type": "boolean"},
        "none": {"type": "null"},
    }


def test_a_schema_has_thousands_of_columns():
    names = [f"c{n}" for n in range(10_000)]
    found = schema(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert found["properties"].keys() == {"_meta", *names}
