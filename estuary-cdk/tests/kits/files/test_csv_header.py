"""A first row names the columns, unless the rows below prove that it is one of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.kits.files.csv_header import is_header
from estuary_cdk.kits.files.csv_rows import CsvRows
from estuary_cdk.kits.files.options import CsvOptions

NAMES = st.from_regex(r"[A-Za-z_ ][A-Za-z_ ()%#]{0,8}", fullmatch=True)
KINDS = {
    "number": st.one_of(st.integers(-9, 10**20).map(str), st.floats(0, 99).map("{:.2f}".format)),
    "boolean": st.sampled_from(["true", "FALSE"]),
    "date": st.dates().map(str),
    "moment": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    "id": st.uuids().map(str),
    "text": st.sampled_from(["Ann", "Bob", "x y", "007", "N"]),
}
PLACES = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5)


@st.composite
def tables(draw, kinds=PLACES):
    """Return rows of columns that are of one kind each, with empty cells here and there."""
    columns = [KINDS[kind] for kind in draw(kinds)]
    cells = st.tuples(*[st.one_of(column, st.just("")) for column in columns])
    return draw(st.lists(cells.map(list), min_size=1, max_size=8))


@given(tables(), st.data())
def test_a_row_of_names_is_a_header_whatever_is_below(rows, data):
    header = data.draw(st.lists(NAMES | st.just(""), min_size=len(rows[0]), max_size=len(rows[0])))
    assert is_header([header, *rows])


@given(tables(), st.lists(st.integers(1, 9999), min_size=1, max_size=5, unique=True), NAMES)
def test_numbers_of_years_and_places_are_names(rows, numbers, name):
    header = [name, *map(str, numbers)][: len(rows[0])]
    assert is_header([header, *[["France", *row] for row in rows]])


@given(st.sampled_from(["date", "moment", "id"]), PLACES, st.data())
def test_a_date_or_an_id_above_others_is_a_row_of_a_file_without_names(kind, kinds, data):
    columns = [KINDS[kind], *[KINDS[each] for each in kinds]]
    rows = data.draw(
        st.lists(st.tuples(*columns).map(list), min_size=3, max_size=6, unique_by=tuple)
    )
    assert not is_header(rows)


@pytest.mark.parametrize(
    ("text", "headed"),
    [
        # What is well known without a header: irises, and a log of requests.
        ("5.1,3.5,1.4,0.2,setosa\n4.9,3.0,1.4,0.2,setosa\n4.7,3.2,1.3,0.2,setosa\n", False),
        ("10.0.0.1,GET,/\n10.0.0.2,GET,/x\n10.0.0.1,PUT,/\n", False),
        ("5.1,3.5,4.4\n4.9,3.0,1.4\n4.7,3.2,1.3\n", False),
        ("1,31/12/2025\n2,30/11/2025\n3,29.10.2025\n", False),
        ("1,ann@example.com\n2,bob@example.com\n3,\n", False),
        ("1,https://a.example/x\n2,http://b.example\n3,https://c.example\n", False),
        # Axes, pivoted tables, a matrix with the places of its rows and columns.
        ("400.5,401.0,401.5\n1.5,2.5,3.5\n4.5,5.5,6.5\n", True),
        (",0,1\n0,5,2\n1,3,4\n", True),
        ("country,1990,1991\nFrance,5,6\nItaly,7,8\n", True),
        ("day,2026-01-01,2026-01-02\nmon,5,6\ntue,7,8\n", True),
        ("date,103,7,55\n2026-01-01,1,2,3\n2026-01-02,4,5,6\n", True),
        # Tables about tables.
        ("column,type\ncolumn,text\ntype,text\n", True),
        # A header that comes again.
        ("1,a,2026-01-01\n2,a,2026-01-02\n1,a,2026-01-01\n", True),
        # Too little to tell.
        ("1,2026-01-01\n2,2026-01-02\n", True),
        ("1,2\n3,4\n5,6\n", True),
        ("2026-01-01,x\n", True),
        ("true,x\nfalse,y\ntrue,z\n", True),
    ],
)
def test_well_known_kinds_of_files(text, headed):
    assert is_header([line.split(",") for line in text.splitlines()]) is headed


def parsed(text, **options):
    rows = CsvRows("f.csv", "utf-8", CsvOptions(**options))
    records = rows.feed(text.encode()) + rows.finish()
    return [msgspec.json.decode(b"{" + record) for record in records]


def test_columns_without_names_are_named_by_their_places():
    text = "7,2026-01-31,x\n8,2026-02-28,y\n9,,z\n"
    named = parsed(text)
    assert [row["column_1"] for row in named] == [7, 8, 9]
    assert named[0] == {"column_1": 7, "column_2": "2026-01-31", "column_3": "x"}
    assert parsed(text, headers=["id", "day", "name"])[0]["day"] == "2026-01-31"
