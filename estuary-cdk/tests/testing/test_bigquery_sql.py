"""Statements about tables, read and rewritten."""

import pytest

from estuary_cdk.testing.bigquery_sql import (
    Alter,
    Create,
    Drop,
    Name,
    datasets,
    emulated,
    rewritten,
    spelled,
    statements,
)


def _field(name, kind, mode="NULLABLE", **more):
    return {"name": name, "type": kind, "mode": mode, **more}


def test_a_tables_description_is_read_from_create_table():
    [found] = statements(
        """create table if not exists `p`.`d`.`t` (
             `k` int64 not null options(description='the \\'key\\''),  -- a comment, with a comma
             n numeric(20, 5), b bignumeric, `a b` array<string(10)>,
             s struct<x int64, y array<json>>, primary key (k) not enforced
           )
           partition by timestamp_trunc(`ts`, hour) cluster by `k`, n
           options(description="of; it", labels=[('a', 'b')],
                   expiration_timestamp=timestamp '2030-01-01 00:00:00 UTC')""",
        "other",
    )
    assert found.effect == Create(
        Name("p", "d", "t"),
        {
            "timePartitioning": {"type": "HOUR", "field": "ts"},
            "clustering": {"fields": ["k", "n"]},
            "description": "of; it",
            "labels": {"a": "b"},
            "expirationTime": "1893456000000",
        },
        [
            _field("k", "INTEGER", "REQUIRED", description="the 'key'"),
            _field("n", "NUMERIC", precision="20", scale="5"),
            _field("b", "BIGNUMERIC"),
            _field("a b", "STRING", "REPEATED", maxLength="10"),
            _field("s", "RECORD", fields=[_field("x", "INTEGER"), _field("y", "JSON", "REPEATED")]),
        ],
        only_if_missing=True,
    )


@pytest.mark.parametrize(
    ("clause", "attribute"),
    [
        ("d", {"timePartitioning": {"type": "DAY", "field": "d"}}),
        ("date(`t`)", {"timePartitioning": {"type": "DAY", "field": "t"}}),
        ("date_trunc(d, month)", {"timePartitioning": {"type": "MONTH", "field": "d"}}),
        ("_PARTITIONDATE", {"timePartitioning": {"type": "DAY"}}),
        (
            "range_bucket(a, generate_array(0, 100, 10))",
            {
                "rangePartitioning": {
                    "field": "a",
                    "range": {"start": "0", "end": "100", "interval": "10"},
                }
            },
        ),
    ],
)
def test_partitions_are_read(clause, attribute):
    [found] = statements(f"create table d.t (a int64) partition by {clause}", "p")
    assert isinstance(found.effect, Create)
    assert found.effect.resource == attribute


def test_every_change_of_a_table_becomes_a_statement_of_its_own():
    script = statements(
        "alter table d.t add column x string options(description='a, b'), add column y numeric, "
        "alter column `z` drop not null, set options(description=';'); drop table d.u; select ';'",
        "p",
    )
    assert [type(each.effect) for each in script] == [Alter, Drop, type(None)]
    assert rewritten(script).split(";\n") == [
        "ALTER TABLE `p`.`d`.`t` add column x string options(description='a, b')",
        "ALTER TABLE `p`.`d`.`t` add column y NUMERIC(38, 9)",
        "ALTER TABLE `p`.`d`.`t` alter column `z` drop not null",
        "drop table d.u",
        "select ';'",
    ]


@pytest.mark.parametrize(
    ("sql", "written"),
    [
        ("cast(x as numeric)", "cast(x as NUMERIC(38, 9))"),
        ("cast('1' as BIGNUMERIC)", "cast('1' as NUMERIC(38, 10))"),
        ("cast(l.`x` as BIGNUMERIC) = cast(y as bignumeric(38))", "l.`x` = y"),
        ("a bignumeric(60, 10), b", "a NUMERIC(38, 10), b"),
        ("a decimal(3, 1)", "a decimal(3, 1)"),
        ("numeric '1.5' < bignumeric '2.5'", "numeric '1.5' < '2.5'"),
        ("select `numeric`, 'numeric', t.numeric -- numeric", None),
    ],
)
def test_decimals_are_spelled_for_the_emulator(sql, written):
    assert emulated(sql) == (written or sql)


def test_types_are_spelled_as_they_were_read():
    for text in (
        "STRING(10)",
        "ARRAY<STRUCT<`a` INT64, `b` ARRAY<BOOL>>>",
        "NUMERIC(20, 5)",
        "FLOAT64",
    ):
        [found] = statements(f"create table d.t (c {text})", "p")
        assert isinstance(found.effect, Create)
        assert found.effect.fields is not None
        assert spelled(found.effect.fields[0]) == text


def test_datasets_that_a_script_names_are_found():
    sql = """merge into `p`.`d`.`t` as l using (select * from `q.e.s` join x) as r on true;
             insert d.t (a) select a from my-project.f.u, unnest(y.z); drop table if exists g.v;
             select * from `q`.`h`.INFORMATION_SCHEMA.TABLES, (select 1 from x.y)"""
    assert datasets(sql, "p") == [
        ("p", "d"),
        ("q", "e"),
        ("my-project", "f"),
        ("p", "g"),
        ("q", "h"),
        ("p", "x"),
    ]
