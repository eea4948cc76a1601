"""What a materialization promises of its answers, its tables and what is in them."""

from dataclasses import replace
from typing import Final

import msgspec

from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol.flow import PROTOCOL_VERSION, RangeSpec
from estuary_cdk.protocol.materialize import (
    FIELD_FORBIDDEN,
    Open,
    Opened,
    Spec,
    SpecResponse,
)
from estuary_cdk.testing.materialize_subject import (
    USERS,
    Promise,
    Subject,
    deleted,
    require_documents,
    stored,
    user,
)
from estuary_cdk.testing.selection import collection, optional, required


async def says_what_it_is(subject: Subject) -> None:
    """Its spec has the protocol's version, a link, and schemas that read as JSON."""
    spec = await subject.runtime().spec()
    assert spec.protocol == PROTOCOL_VERSION
    assert spec.documentation_url.startswith("https://")
    for schema in (spec.config_schema, spec.resource_config_schema):
        assert msgspec.json.decode(schema)["type"] == "object"


async def constrains_every_field(subject: Subject) -> None:
    """Every projection gets a constraint with a reason."""
    runtime = subject.runtime()
    answer = await runtime.validate(subject.config, [subject.model(USERS, "users")])
    [binding] = answer.bindings
    constrained = {each.field for each in binding.projection_constraints}
    assert constrained == {each.field for each in USERS.projections}
    assert all(each.constraint.reason for each in binding.projection_constraints)


async def answers_spec_before_open(subject: Subject) -> None:
    """One process answers spec and then serves a session."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "users"))
    async with runtime.conversation() as peer:
        await peer.send(Spec())
        await peer.expect(SpecResponse)
        await peer.send(Open(materialization=spec, range=RangeSpec(key_end=0xFFFFFFFF)))
        await peer.expect(Opened)
        await peer.end()


async def loads_what_it_stored(subject: Subject) -> None:
    """A stored document comes back when its key is loaded, and a later one replaces it."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "users"))
    first, second = user(1, "ann", n=1), user(1, "bob")
    async with runtime.session(spec) as session:
        await session.transaction([first, user(2)])
        assert session.loaded == {}
        await session.transaction([second, user(3)])
        assert session.loaded == {(0, b"[1]"): first[1]}
    require_documents(subject, "users", [second, user(2), user(3)])


async def fills_columns(subject: Subject) -> None:
    """Keys and values are in columns of their own; a missing value is null."""
    await stored(subject, "users", [user(1, "ann", n=5), (0, b'{"id":2}')])
    rows = {row["id"]: (row["name"], row["n"]) for row in subject.rows("users")}
    assert rows == {1: ("ann", 5), 2: (None, None)}, rows


async def deletes_rows(subject: Subject) -> None:
    """A deletion removes the row, or keeps the document that tells of it."""
    await stored(subject, "users", [user(1), user(2)], [deleted(1)])
    left = [user(2)] if subject.hard_deletes else [deleted(1), user(2)]
    require_documents(subject, "users", left)


async def lets_deleted_rows_return(subject: Subject) -> None:
    """A key comes back after its deletion, in the same transaction and in a later one."""
    await stored(
        subject, "users", [user(1), user(2)], [deleted(1), user(1, "again"), deleted(2)], [user(2)]
    )
    require_documents(subject, "users", [user(1, "again"), user(2)])


async def ignores_unknown_deletions(subject: Subject) -> None:
    """A deletion of a key that was never stored leaves no row, where deletions remove rows."""
    await stored(subject, "users", [deleted(7)], [deleted(8), user(1)])
    left = [user(1)] if subject.hard_deletes else [deleted(7), deleted(8), user(1)]
    require_documents(subject, "users", left)


async def appends_delta_updates(subject: Subject) -> None:
    """With delta updates every document is a row, and nothing is loaded."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "log", delta_updates=True))
    assert spec.bindings[0].delta_updates
    async with runtime.session(spec) as session:
        await session.transaction([user(1, "a")])
        await session.transaction([user(1, "b"), user(2, "c")])
        assert session.loaded == {}
    assert sorted(row["name"] for row in subject.rows("log")) == ["a", "b", "c"]


async def commits_nothing(subject: Subject) -> None:
    """A transaction may be empty, the first and the last too."""
    await stored(subject, "users", [], [user(1)], [], [])
    require_documents(subject, "users", [user(1)])


async def keeps_tables_apart(subject: Subject) -> None:
    """Bindings of one task don't get into each other's way."""
    runtime = subject.runtime()
    models = [subject.model(USERS, name) for name in ("one", "two")]
    spec = await subject.ready(runtime, *models)
    async with runtime.session(spec) as session:
        await session.transaction([user(1, "a"), (1, user(1, "b")[1]), (1, user(2)[1])])
        await session.transaction([(1, user(1, "c")[1])])
    require_documents(subject, "one", [user(1, "a")])
    require_documents(subject, "two", [user(1, "c"), user(2)])


async def applies_once(subject: Subject) -> None:
    """Applying again changes nothing and says nothing."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "users"))
    assert await runtime.apply(spec) == []
    async with runtime.session(spec) as session:
        await session.transaction([user(1)])
    assert await runtime.apply(spec) == []
    require_documents(subject, "users", [user(1)])


async def adds_columns(subject: Subject) -> None:
    """A new field gets a column, with null where rows are there already."""
    runtime = subject.runtime()
    before = subject.model(USERS, "users")
    spec = await subject.ready(runtime, replace(before, exclude=frozenset({"n"})))
    async with runtime.session(spec) as session:
        await session.transaction([user(1, n=1), user(4)])
    spec = await subject.ready(runtime, before)
    async with runtime.session(spec) as session:
        await session.transaction([user(2, n=2)])
        await session.transaction([user(1, "ann", n=3), user(3)])
    found = {row["id"]: row["n"] for row in subject.rows("users")}
    assert found == {1: 3, 2: 2, 3: None, 4: None}, found


async def relaxes_columns(subject: Subject) -> None:
    """A column takes nulls once its field may be missing, or isn't selected any more."""
    runtime = subject.runtime()
    fields = {"id": required("integer"), "a": required("string"), "b": required("integer")}
    before = subject.model(collection("acme/users", ["/id"], fields), "users")
    spec = await subject.ready(runtime, before)
    async with runtime.session(spec) as session:
        await session.transaction([(0, b'{"id":1,"a":"x","b":5}')])
    fields["a"] = optional("string")
    after = subject.model(collection("acme/users", ["/id"], fields), "users")
    spec = await subject.ready(runtime, replace(after, exclude=frozenset({"b"})))
    async with runtime.session(spec) as session:
        await session.transaction([(0, b'{"id":2}')])
    rows = {row["id"]: (row["a"], row["b"]) for row in subject.rows("users")}
    assert rows == {1: ("x", 5), 2: (None, None)}, rows


async def starts_backfills_empty(subject: Subject) -> None:
    """A backfill empties the table, also where it changes the key or a type."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "users"))
    async with runtime.session(spec) as session:
        await session.transaction([user(1), user(2)])
    spec = await subject.ready(runtime, subject.model(USERS, "users", backfill=1))
    require_documents(subject, "users", [])
    async with runtime.session(spec) as session:
        await session.transaction([user(1, "new")])
    require_documents(subject, "users", [user(1, "new")])
    rekeyed = collection("acme/users", ["/name"], {"name": required("string")})
    spec = await subject.ready(runtime, subject.model(rekeyed, "users", backfill=2))
    async with runtime.session(spec) as session:
        await session.transaction([user(5, "x"), user(6, "y")])
    require_documents(subject, "users", [user(5, "x"), user(6, "y")])


async def leaves_removed_tables(subject: Subject) -> None:
    """The table of a binding that is gone keeps its rows."""
    runtime = subject.runtime()
    both = [subject.model(USERS, name) for name in ("kept", "gone")]
    spec = await subject.ready(runtime, *both)
    async with runtime.session(spec) as session:
        await session.transaction([(1, user(1)[1])])
    await subject.ready(runtime, both[0])
    require_documents(subject, "gone", [user(1)])


async def refuses_tables_of_others(subject: Subject) -> None:
    """A table that was there before the task is left alone."""
    await stored(subject, "users", [user(1)])
    try:
        await subject.runtime().validate(subject.config, [subject.model(USERS, "users")])
    except ConfigError:
        return
    raise AssertionError("validated a binding onto a table of someone else")


async def forbids_useless_fields(subject: Subject) -> None:
    """A field that can only be null can't be materialized."""
    fields = {"id": required("integer"), "nothing": optional("null")}
    spec = collection("acme/users", ["/id"], fields)
    answer = await subject.runtime().validate(subject.config, [subject.model(spec, "users")])
    constraints = answer.bindings[0].projection_constraints
    found = {each.constraint.type for each in constraints if each.field == "nothing"}
    assert found == {FIELD_FORBIDDEN}


TABLES: Final[tuple[Promise, ...]] = (
    says_what_it_is,
    constrains_every_field,
    answers_spec_before_open,
    loads_what_it_stored,
    fills_columns,
    deletes_rows,
    lets_deleted_rows_return,
    ignores_unknown_deletions,
    appends_delta_updates,
    commits_nothing,
    keeps_tables_apart,
    applies_once,
    adds_columns,
    relaxes_columns,
    starts_backfills_empty,
    leaves_removed_tables,
    refuses_tables_of_others,
    forbids_useless_fields,
)
