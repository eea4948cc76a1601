"""Plain lines and logs of web servers become records."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import FileReader, ParserOptions, text_lines


def read(content, form, block=1 << 20, name="f.log"):
    options = {"format": {"type": form}} if form else {}
    reader = FileReader(name, ParserOptions.model_validate(options))
    found = [
        r for at in range(0, len(content), block) for r in reader.feed(content[at : at + block])
    ]
    found += reader.finish()
    return [msgspec.json.decode(b"{" + body) for each in found for body in each.bodies]


@given(st.text(), st.integers(1, 9))
@example("a\n", 1)  # Shorter than a byte order mark: nothing is certain before the end.
def test_each_line_is_a_record_whatever_is_in_it(text, block):
    lines = text.split("\n")
    expected = [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    expected[:1] = [line.removeprefix("\ufeff") for line in expected[:1]]
    found = read(text.encode(), "lines", block)
    assert [each["line"] for each in found] == expected or text in {"", "\ufeff"}


LOG = b"""#Software: Microsoft Internet Information Services 10.0
#Version: 1.0
#Fields: date time cs-method cs-uri-stem sc-status cs(User-Agent)
2024-01-01 00:00:01 GET /a 200 "Mozilla - 5 ""x"" y"
2024-01-01 00:00:02 POST  - 404 -
#Date: 2024-01-02
#Fields: date code
2024-01-02\t007
"""
FIRST = {
    "date": "2024-01-01", "time": "00:00:01", "cs-method": "GET", "cs-uri-stem": "/a",
    "sc-status": 200, "cs(User-Agent)": 'Mozilla - 5 "x" y',
}  # fmt: skip


@pytest.mark.parametrize("form", ["w3cExtendedLog", None])
@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_web_servers_log_has_the_columns_it_names(form, block, ending):
    found = read(LOG.replace(b"\n", ending), form, block)
    assert found == [
        FIRST,
        {
            "date": "2024-01-01", "time": "00:00:02", "cs-method": "POST", "cs-uri-stem": None,
            "sc-status": 404, "cs(User-Agent)": None,
        },
        {"date": "2024-01-02", "code": "007"},
    ]  # fmt: skip


def test_what_is_wrong_in_a_log_is_told_with_its_line():
    with pytest.raises(DataError, match="line 1, column 1: no line before it names"):
        read(b"2024-01-01 GET\n", "w3cExtendedLog")
    with pytest.raises(DataError, match="line 3, column 3: the row has 3 cells"):
        read(b"#Version: 1\n#Fields: a b\n1 2 3\n", "w3cExtendedLog")
    with pytest.raises(DataError, match="line 2, column 1: it names no field"):
        read(b"#Version: 1\n#Fields:\n", "w3cExtendedLog")


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(text_lines, "LINE_BYTES_MAX", 1000)
    with pytest.raises(DataError, match="line 2, column 1: the line is longer than 1000 bytes"):
        read(b"a\n" + b"x" * 2000, "lines", 100)
