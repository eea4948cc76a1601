"""Every statement, as it is sent: read them when they change."""

from dataclasses import replace

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql import target
from estuary_cdk.materialize import Binding, Column, Field, Table
from estuary_cdk.protocol.flow import Inference
from materialize_bigquery import dialect, statements
from materialize_bigquery.config import Resource
from materialize_bigquery.dialect import BIGQUERY
from materialize_bigquery.rebuilding import rebuilt
from materialize_bigquery.statements import Bound, Once, Part

PATH = ("acme", "flow", "t")


def field(name: str, *types: str, key: bool = False, exists: str = "MUST", **told) -> Field:
    inference = Inference(types=list(types), exists=exists, **told)
    return Field(name, name, f"/{name}", inference, is_key=key)


KEYS = (field("id", "integer", key=True), field("day", "string", key=True, string=None))
VALUES = (
    field("v", "string", "null", title="A title", description="it's\nlong \\ " + "x" * 2000),
    field("n", "integer"),
    field("o", "object", exists="MAY"),
)
DOCUMENT = Field("flow_document", "flow_document", "", Inference(types=["object"], exists="MUST"))


def binding(*, whole: bool = True, delta: bool = False, values=VALUES, **resource) -> Binding:
    return Binding(
        index=0,
        resource=Resource.model_validate({"table": "t", **resource}),
        path=PATH,
        collection="acme/it's",
        keys=KEYS,
        values=values,
        document=DOCUMENT if whole else None,
        delta_updates=delta,
        backfill=0,
        state_key="t.v0",
    )


def columns(of: Binding) -> list[Column]:
    types = BIGQUERY.rules().column_type
    return [Column(each.column, str(types(each)), each.nullable) for each in of.fields]


def part(of: Binding, *changed: tuple[int, object], name: str = "acme.flow.flow_staged_1") -> Part:
    types = [column.type for column in target(BIGQUERY, of).columns]
    for index, kind in changed:
        types[index] = kind
    return Part(name, tuple(types))


def test_tables(snapshot):
    plain = binding()
    moments = field("at", "string", string=None)
    parted = binding(
        values=(*VALUES, replace(moments, inference=Inference(types=["integer"], exists="MUST"))),
        partitioning={"type": "Range", "column": "AT", "start": 0, "end": 100, "interval": 10},
        clustering=["v", "id"],
    )
    existing = Table(PATH, (Column("v_flowtmp1", "STRING", True), Column("v", "INT64", True)))
    finished = Table(PATH, (Column("v_flowtmp1", "STRING", True),))
    v = Column("v", "INT64", nullable=True)
    told = {
        "create": statements.create_table(plain, columns(plain)),
        "create parted": statements.create_table(parted, columns(parted)),
        "dataset": statements.create_dataset("acme", "flow", "EU"),
        "drop": statements.drop_table(PATH),
        "truncate": statements.truncate(PATH),
        "add": statements.add_columns(PATH, [v, v], VALUES[:2]),
        "relax": statements.relax(PATH, [v, v]),
        "widen": "\n".join(statements.retyped(PATH, v, replace(v, type="NUMERIC"))),
        "retype": "\n".join(statements.retyped(PATH, v, replace(v, type="STRING"))),
        "undo": "\n".join(statements.mend(existing)),
        "finish": "\n".join(statements.mend(finished)),
        "applied": statements.create_applied(PATH),
        "staged": statements.staged_tables("acme", "flow"),
    }
    assert "\n\n".join(f"-- {name}\n{text}" for name, text in told.items()) == snapshot


def test_rows(snapshot):
    whole = binding()
    into = target(BIGQUERY, whole)
    bounds = [Bound(-5, 10), Bound("a'b\\", "z")]
    merged = statements.source([part(whole)], into.columns, deletes=True)
    wider = replace(into, values=(replace(into.values[0]), *into.values[1:]))
    wide_n = replace(wider.values[1], type=dialect.BIG_INTEGER)
    wider = replace(wider, values=(wider.values[0], wide_n, wider.values[2]))
    two = statements.source(
        [part(whole), part(whole, (3, dialect.BIG_INTEGER), name="acme.flow.flow_staged_2")],
        wider.columns,
        deletes=False,
    )
    keys = replace(into, values=(), document=None)
    staged_keys = Part("acme.flow.flow_staged_3", tuple(each.type for each in into.keys))
    asked = statements.source([staged_keys], into.keys, deletes=False)
    rebuilding = binding(whole=False)
    marks = ("acme", "flow", "flow_applied_v1")
    told = {
        "insert": statements.insert(
            into, statements.source([part(whole)], into.columns, deletes=False)
        ),
        "merge": statements.merge(into, merged, bounds, deletes=True),
        "merge of rows before and after a column became wider": statements.merge(
            wider, two, [Bound(1, 2), Bound("x" * 300, "y" * 300)], deletes=False
        ),
        "merge of nothing but keys": statements.merge(keys, asked, [None, None], deletes=False),
        "load": statements.load(into, asked, "t.`flow_document`", bounds),
        "load of rebuilt documents": statements.load(
            into, asked, rebuilt(rebuilding, target(BIGQUERY, rebuilding)), [None, None]
        ),
        "once": statements.once(marks, Once("acme/it's", "0-f", "t1", PATH, 2), "X"),
        "emptied": statements.emptied(marks, "acme/it's", PATH, 3),
    }
    assert "\n\n".join(f"-- {name}\n{text}" for name, text in told.items()) == snapshot


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        ({"clustering": ["missing"]}, "'missing' isn't one of the fields"),
        ({"clustering": ["o"]}, "can't be clustered by column 'o', which is JSON"),
        ({"partitioning": {"type": "Time", "column": "n"}}, "can't be parted by column 'n'"),
        (
            {"partitioning": {"type": "Range", "column": "v", "start": 0, "end": 9, "interval": 1}},
            "can't be parted by column 'v', which is STRING",
        ),
    ],
)
def test_a_table_that_cannot_be_parted_as_asked_is_a_mistake(resource, said):
    wanted = binding(**resource)
    with pytest.raises(ConfigError, match=said):
        statements.create_table(wanted, columns(wanted))
