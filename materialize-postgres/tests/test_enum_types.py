"""Columns of enum types: made, stored into, extended, opened, and those that somebody else made."""

import pytest
from msgspec import Raw, structs

from estuary_cdk.errors import ConfigError, DataError
from estuary_cdk.kits.sql.enumerations import labels_of
from estuary_cdk.materialize.runner import serve
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.materialize_runtime import BindingModel, MaterializeRuntime
from estuary_cdk.testing.selection import collection, optional, required
from materialize_postgres import materialization
from materialize_postgres.dialect import LABELS_MAX, enumerated

HOSTILE = ["", "it's", "a,b", "back\\slash", 'quo"ted', "null", "naïve ☃", "x" * 63, "$1 {} %s"]


class Task:
    """A task of one table whose field `v` is one of some strings, or any where there are none."""

    def __init__(self, database, **config) -> None:
        self.database = database
        self.config = encode_json(database.settings(**config))
        self.runtime = MaterializeRuntime(lambda *streams: serve(materialization, *streams))

    async def apply(self, *labels: str, backfill: int = 0, adopt: bool = False) -> list[str]:
        """Build and apply; return what was done."""
        told = structs.replace(optional("string"), enum=[Raw(encode_json(each)) for each in labels])
        found = collection("acme/things", ["/id"], {"id": required("integer"), "v": told})
        resource = encode_json({"table": "t", "allowExistingTable": adopt})
        model = BindingModel(found, resource, backfill=backfill)
        self.spec = await self.runtime.build(self.config, [model])
        done = await self.runtime.apply(self.spec)
        assert await self.runtime.apply(self.spec) == []
        return done

    async def store(self, *values: str | None) -> None:
        async with self.runtime.session(self.spec) as session:
            documents = [encode_json({"id": n, "v": v}) for n, v in enumerate(values)]
            await session.bulk([(0, each) for each in documents], b"{}")

    def values(self) -> list[str | None]:
        return [value for (value,) in self.database.run("select v::text from t order by id")]

    def type(self) -> str:
        [column] = [each for each in self.database.table("t").columns if each.name == "v"]
        return column.type


async def test_a_column_of_labels_is_made_stored_into_and_extended(any_database):
    task = Task(any_database)
    await task.apply("red", "green")
    await task.store("green", "red", None)
    await task.apply("blue", "red", "green")
    assert task.type() == "ENUM('red','green','blue')"
    # The rows that are there are updated, by way of a temporary table.
    await task.store("blue", None, "green", "blue")
    assert task.values() == ["blue", None, "green", "blue"]
    assert task.database.run("select typname from pg_type where typtype = 'e'") == [
        ("t_v_flow_enum",)
    ]


async def test_labels_may_be_any_text_that_the_server_can_have_as_one(database):
    task = Task(database)
    await task.apply(*HOSTILE)
    await task.store(*HOSTILE, *HOSTILE)
    assert task.values() == HOSTILE * 2
    await task.apply(*HOSTILE, "one more'")
    assert labels_of(task.type()) == (*HOSTILE, "one more'")


@pytest.mark.parametrize("label", ["x" * 64, "☃" * 22, "a\u0000b"])
async def test_a_label_that_cant_be_one_makes_the_column_text(label, database):
    task = Task(database)
    await task.apply("a")
    await task.store("a")
    await task.apply("a", label)
    assert task.type() == "TEXT"
    assert task.values() == ["a"]


def test_half_a_surrogate_pair_and_a_thousand_labels_are_no_enumeration():
    assert enumerated(("\ud800",)) is None
    assert enumerated(tuple(map(str, range(LABELS_MAX)))) is not None
    assert enumerated(tuple(map(str, range(LABELS_MAX + 1)))) is None


async def test_a_schema_that_opens_makes_the_column_text(database):
    task = Task(database)
    await task.apply("a", "b")
    await task.store("a", "b")
    await task.apply()
    assert task.type() == "TEXT"
    await task.store("c", "b")
    assert task.values() == ["c", "b"]
    # What is text stays so: it holds whatever an enumeration holds.
    await task.apply("b", "c")
    assert task.type() == "TEXT"


async def test_a_backfill_takes_the_type_that_is_there(database):
    task = Task(database)
    await task.apply("a")
    database.run("drop table t")
    await task.apply("b", "c")
    assert task.type() == "ENUM('a','b','c')"
    await task.apply("d", backfill=1)
    await task.store("d")
    assert task.values() == ["d"]


async def test_a_column_that_somebody_made_is_accepted_and_extended(database):
    database.run(
        "create schema other",
        "create type other.\"Their's\" as enum ('x', 'a')",
        'create table t (id bigint primary key, v other."Their\'s", flow_document json not null)',
        "insert into t values (0, 'x', '{\"id\":0}')",
    )
    task = Task(database, advanced={"enumTypes": False})
    await task.apply("a", adopt=True)
    assert task.type() == "ENUM('x','a')"
    await task.store("a", "a")
    task.config = encode_json(database.settings())
    await task.apply("a", "b", adopt=True)
    assert task.type() == "ENUM('x','a','b')"
    await task.store("b", "a")
    assert task.values() == ["b", "a"]


async def test_nobody_else_is_waited_for_where_a_type_isnt_ours(database):
    database.run(
        "create role flow_tenant login",
        "grant create, usage on schema public to flow_tenant",
        "create type theirs as enum ('a')",
        "create table t (id bigint primary key, v theirs, flow_document json not null)",
        "alter table t owner to flow_tenant",
    )
    try:
        task = Task(database, user="flow_tenant")
        with pytest.raises(ConfigError, match="must be owner of type theirs"):
            await task.apply("a", "b", adopt=True)
        assert task.type() == "ENUM('a')"
    finally:
        database.run("drop owned by flow_tenant", "drop role flow_tenant")


async def test_with_the_option_off_a_column_is_text(database):
    task = Task(database, advanced={"enumTypes": False})
    await task.apply("a")
    assert task.type() == "TEXT"


async def test_a_document_is_made_of_its_labels_too(database):
    task = Task(database, advanced={"no_flow_document": True})
    await task.apply("it's", "b")
    await task.store("it's", "b", None)
    async with task.runtime.session(task.spec) as session:
        await session.bulk([(0, b'{"id":0,"v":"b"}'), (0, b'{"id":2,"v":"b"}')], b"{}")
        assert sorted(session.loaded.values()) == [b'{"id": 2}', b'{"v": "it\'s", "id": 0}']


async def test_a_value_that_the_type_lacks_is_told(database):
    task = Task(database)
    await task.apply("a")
    with pytest.raises(ExceptionGroup) as raised:
        await task.store("b")
    assert raised.group_contains(DataError, match="invalid input value for enum")
    assert task.values() == []
