"""Rows of spreadsheets become records, whichever program wrote them."""

import io
import random
import zipfile
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, DataError
from estuary_cdk.kits.files import FileReader, ParserOptions, spreadsheets

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def archive(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in entries.items():
            zipped.writestr(name, content)
    return file.getvalue()


def cell(value):
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
    style, number = value if isinstance(value, tuple) else (0, value)
    return f'<c s="{style}"><v>{number}</v></c>'


def xlsx(**sheets):
    """Write a workbook; a number with a style is a moment (1) or a time of day (2)."""
    names = list(sheets)
    entries = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r" '
        f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
        + "".join(f'<sheet name="{n}" sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(names, 1))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="r{i}" Type="{OFFICE}/worksheet" Target="worksheets/{i}.xml"/>'
            for i, _ in enumerate(names, 1)
        )
        + f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="22"/><xf numFmtId="21"/></cellXfs></styleSheet>',
    }
    for at, rows in enumerate(sheets.values(), 1):
        lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData></worksheet>'
        entries[f"xl/worksheets/{at}.xml"] = sheet
    return archive(entries)


ODS = archive(
    {
        "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
        "META-INF/manifest.xml": """<?xml version="1.0" encoding="UTF-8"?>
          <m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>""",
        "content.xml": """<?xml version="1.0" encoding="UTF-8"?><office:document-content
          xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
          xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
          xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">
          <office:body><office:spreadsheet><table:table table:name="s">
          <table:table-row><table:table-cell office:value-type="string"><text:p>id</text:p>
          </table:table-cell></table:table-row>
          <table:table-row><table:table-cell office:value-type="float" office:value="7">
          <text:p>7</text:p></table:table-cell></table:table-row></table:table></office:spreadsheet></office:body>
          </office:document-content>""",
    }
)
ROWS = [
    ["id", "name", "id", "", "at", "share"],
    [1, "ann", True, None, (1, 45292.5), 0.25],
    [],
    [2, None, False, "x", (1, 45293), 1e20],
]
BOOK = xlsx(first=ROWS, other=[["a"], ["b"]])


def read(content, name="f.xlsx", **config):
    options = {"format": {"type": "spreadsheet", "config": config}} if config else {}
    reader = FileReader(name, ParserOptions.model_validate(options))
    found = [*reader.feed(content), *reader.finish()]
    return [msgspec.json.decode(b"{" + body) for each in found for body in each.bodies]


def test_the_first_row_names_the_columns_of_the_others():
    assert read(BOOK) == [
        {
            "id": 1, "name": "ann", "id_2": True, "column_4": None,
            "at": "2024-01-01T12:00:00Z", "share": 0.25,
        },
        {
            "id": 2, "name": None, "id_2": False, "column_4": "x",
            "at": "2024-01-02T00:00:00Z", "share": 1e20,
        },
    ]  # fmt: skip


def test_a_sheet_can_be_chosen():
    assert read(BOOK, sheet="other") == [{"a": "b"}]
    with pytest.raises(ConfigError, match=r"can't read sheet 'none' of .*it has 'first', 'other'"):
        read(BOOK, sheet="none")


def test_open_document_is_read():
    assert read(ODS, name="f.ods") == [{"id": 7}]


def test_empty_sheets_have_no_records():
    assert read(xlsx(s=[])) == []
    assert read(xlsx(s=[["a"]])) == []


def test_what_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(spreadsheets, "EXPANDED_BYTES_MAX", 1000)
    with pytest.raises(DataError, match=r"the limits are .* and 1000.*export it as CSV"):
        read(BOOK)


@pytest.mark.parametrize("name", ["f.xlsx", "f.xls", "f.xlsb", "f.ods"])
@pytest.mark.parametrize("content", [b"id,name\n", BOOK[:-30], BOOK[:99], b"\xd0\xcf\x11\xe0" * 99])
def test_what_is_no_spreadsheet_is_one_clear_error(name, content):
    with pytest.raises(DataError, match=f"can't read '{name}': not a valid spreadsheet"):
        read(content, name)


@given(st.sampled_from([BOOK, ODS]), st.integers(0, 2**32), st.integers(1, 6))
def test_damaged_spreadsheets_give_records_or_one_error(content, seed, flips):
    chance = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(flips):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    with suppress(DataError):
        read(bytes(damaged), "f.ods" if content is ODS else "f.xlsx")
