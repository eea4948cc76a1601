"""Enumerations as types: their spelling, and which of them holds which."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.kits.sql import ANSI, ColumnType, readings, target
from estuary_cdk.kits.sql.enumerations import ENUM, family, labels, labels_of, spelled
from estuary_cdk.materialize import Binding, Column, Field, Fit, Table
from estuary_cdk.protocol.flow import Inference, StringInference

DIALECT = replace(
    ANSI,
    types=replace(ANSI.types, enumerated=lambda found: ColumnType(spelled(found), readings.TEXT)),
    migrations={(ENUM, "TEXT"): "{}"},
    holds={("TEXT", ENUM): ColumnType("TEXT", readings.TEXT)},
)


def field(*values: str, key: bool = False, config: bytes = b"", **string: str) -> Field:
    told = Inference(
        types=["string"],
        string=StringInference(**string),
        enum=[Raw(each.encode()) for each in values],
    )
    return Field("f", "f", "/f", told, is_key=key, config=config)


@given(st.lists(st.text(), unique=True))
def test_a_spelling_has_its_labels_again(found: list[str]):
    assert labels_of(spelled(found)) == tuple(found)
    assert family(spelled(found)) == ENUM


@pytest.mark.parametrize("sql", ["TEXT", "ENUM", "ENUM('a'", "ENUM('a',)", "ENUM('a'b')"])
def test_other_types_have_no_labels(sql: str):
    assert labels_of(sql) is None


def test_a_field_is_one_of_its_strings_unless_its_type_is_told_otherwise():
    assert labels(field('"b"', '"a"', "null", '"b"')) == ("b", "a")
    assert labels(field()) == ()
    assert labels(field('"2024-01-01"', format="date")) == ()
    assert labels(field('"a"', config=b'{"ignoreStringFormat":true}')) == ()


def test_a_key_is_text_whatever_its_enum():
    column_type = DIALECT.rules().column_type
    assert column_type(field('"a"')) == "ENUM('a')"
    assert column_type(field('"a"', key=True)) == "TEXT"


OPEN = field()


@pytest.mark.parametrize(
    ("before", "after", "of", "fit"),
    [
        ("ENUM('a','b')", "ENUM('b','a')", field('"b"', '"a"'), Fit.COMPATIBLE),
        ("ENUM('a','b')", "ENUM('b')", field('"b"'), Fit.COMPATIBLE),
        ("ENUM('a')", "ENUM('a','b')", field('"a"', '"b"'), Fit.MIGRATABLE),
        ("ENUM('a')", "ENUM('A')", field('"A"'), Fit.MIGRATABLE),
        ("ENUM('a')", "TEXT", OPEN, Fit.MIGRATABLE),
        # A column that somebody else made holds the field, though we would choose text.
        ("ENUM('a','b')", "TEXT", field('"a"', key=True), Fit.COMPATIBLE),
        ("ENUM('a')", "DATE", OPEN, Fit.INCOMPATIBLE),
        ("TEXT", "ENUM('a')", field('"a"'), Fit.COMPATIBLE),
        ("BIGINT", "ENUM('a')", field('"a"'), Fit.INCOMPATIBLE),
    ],
)
def test_a_column_holds_what_it_has_all_labels_of(before, after, of, fit):
    judge = DIALECT.rules().fit
    assert judge(Column("f", before, True), Column("f", after, True), of) is fit


def test_a_column_of_text_stays_text():
    there = Table(("t",), (Column("f", "text", True),))
    binding = Binding(0, None, ("t",), "c", (), (field('"a"'),), None, False, 0, "t")
    [column] = target(DIALECT, binding, there).columns
    assert column.type.sql == "TEXT"
