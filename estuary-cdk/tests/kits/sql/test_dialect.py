"""What a dialect tells the framework: types by field, fits of types, targets of bindings."""

from dataclasses import replace

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql import ANSI, ColumnType, Kind, readings, target
from estuary_cdk.materialize import Binding, Column, Field, Fit, Forbidden, Table
from estuary_cdk.protocol.flow import Inference, StringInference


def field(
    name: str, *types: str, key: bool = False, config: bytes = b"", string_format: str = ""
) -> Field:
    told = Inference(types=sorted(types), string=StringInference(format=string_format))
    return Field(name, name, f"/{name}", told, is_key=key, config=config)


DATES = replace(
    ANSI,
    name="Dates",
    types=replace(
        ANSI.types,
        formats={"date": ColumnType("DATE", readings.TEXT)},
        key_formats={"date": ColumnType("CHAR(10)", readings.TEXT)},
        key_kinds={Kind.STRING: ColumnType("VARCHAR(256)", readings.TEXT)},
    ),
)


def test_a_format_has_its_own_type_and_keys_may_have_another():
    rules = DATES.rules()
    assert rules.column_type(field("a", "string", string_format="date")) == "DATE"
    assert rules.column_type(field("a", "string", string_format="date", key=True)) == "CHAR(10)"
    assert rules.column_type(field("a", "string", string_format="uuid")) == "TEXT"
    assert rules.column_type(field("a", "string", string_format="uuid", key=True)) == "VARCHAR(256)"
    assert rules.column_type(field("a", "integer", key=True)) == "BIGINT"


def test_a_field_cast_to_a_string_is_text():
    asked = field("a", "number", config=b'{"castToString":true}')
    assert ANSI.types.of(asked) == ColumnType("TEXT", readings.PLAIN_TEXT)


def test_a_field_that_has_no_type_is_forbidden_with_a_reason():
    told = ANSI.rules().column_type(field("a", "null"))
    assert told == Forbidden("SQL has no column for a field of type never")


@pytest.mark.parametrize(
    ("before", "after", "fit"),
    [
        ("BIGINT", "BIGINT", Fit.COMPATIBLE),
        ("bigint", "BIGINT", Fit.COMPATIBLE),
        ("BIGINT", "TEXT", Fit.MIGRATABLE),
        ("TEXT", "BIGINT", Fit.INCOMPATIBLE),
    ],
)
def test_types_fit_as_the_migrations_say(before: str, after: str, fit: Fit):
    columns = [Column("a", kind, nullable=True) for kind in (before, after)]
    assert ANSI.rules().fit(*columns, field("a", "string")) is fit


def test_a_target_has_the_columns_of_its_binding():
    binding = Binding(
        index=0,
        resource=None,
        path=("t",),
        collection="acme/c",
        keys=(field("id", "integer", key=True),),
        values=(field("v", "string"),),
        document=Field("flow_document", "doc", "", Inference(types=["object"])),
        delta_updates=False,
        backfill=0,
        state_key="t.v0",
    )
    assert [column.name for column in target(ANSI, binding).columns] == ["id", "v", "doc"]
    with pytest.raises(ConfigError, match="'x'"):
        target(ANSI, replace(binding, values=(field("x", "null"),)))


def test_a_wider_column_takes_values_in_its_own_way():
    wide = ColumnType("TEXT", readings.INTEGER_TEXT)
    dialect = replace(ANSI, holds={("TEXT", "BIGINT"): wide})
    binding = Binding(
        0, None, ("t",), "c", (field("id", "integer", key=True),), (), None, False, 0, ""
    )
    existing = Table(("t",), (Column("id", "text", nullable=False),))
    wanted = Column("id", "BIGINT", nullable=False)
    assert dialect.rules().fit(existing.columns[0], wanted, binding.keys[0]) is Fit.COMPATIBLE
    assert target(dialect, binding, existing).keys[0].type is wide
    assert target(dialect, binding).keys[0].type.sql == "BIGINT"
