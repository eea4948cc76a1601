"""A SQL destination under test: bindings in a few words, rows by their values."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from estuary_cdk.errors import Fenced
from estuary_cdk.materialize import (
    Binding,
    Change,
    Column,
    CreateTable,
    Destination,
    Field,
    Keys,
    Path,
    Shard,
    Stores,
    Table,
)
from estuary_cdk.protocol.flow import KEY_END_MAX, Inference

TASK: Final = "acme/task"
WHOLE: Final = Shard(TASK, 0, KEY_END_MAX)


def field(name: str, *types: str, key: bool = False, **inference: Any) -> Field:
    """Return a field that is always there, and may be null where `types` say so."""
    pointer = "" if name == "flow_document" else f"/{name}"
    told = Inference(types=sorted(types), exists="MUST", **inference)
    return Field(name, name, pointer, told, is_key=key)


def stores(*rows: Sequence[Any], binding: int = 0, **flags: bool) -> Stores:
    """Return rows of key and value, all with the same flags; their documents say the same."""
    same = (flags.get("exists", False), flags.get("delete", False))
    return mixed(*[(*row[:2], *same) for row in rows], binding=binding)


def mixed(*rows: Sequence[Any], binding: int = 0) -> Stores:
    """Return rows of key, value, whether it exists, whether it is deleted."""
    encode = msgspec.json.encode
    return Stores(
        binding,
        [encode([row[0]]) for row in rows],
        [encode([row[1]]) for row in rows],
        [encode({"id": row[0], "v": row[1]}) for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
    )


def loaded(transactor: Any, *keys: Any, binding: int = 0) -> list[bytes]:
    """Return the documents of keys of one column, sorted."""
    transactor.stage(Keys(binding, [msgspec.json.encode([key]) for key in keys]))
    return sorted(document for found in transactor.loaded() for document in found.documents)


def columns(destination: Destination, binding: Binding[Any]) -> tuple[Column, ...]:
    """Return the columns of a new table of a binding."""
    types = destination.rules.column_type
    return tuple(
        Column(each.column, str(types(each)), nullable=each.nullable) for each in binding.fields
    )


@dataclass(frozen=True, slots=True)
class SqlEndpoint:
    """A destination reached as the kit reaches it.

    - `connect()` gives its tables, `open(bindings, shard, hard_delete)` a transactor.
    - `resource(table, delta)` is the resource config of a binding, `namespace` where its table is.
    """

    connect: Callable[[], AbstractContextManager[Any]]
    open: Callable[[Sequence[Binding[Any]], Shard, bool], AbstractContextManager[Any]]
    resource: Callable[[str, bool], Any]
    namespace: Path = ()

    def binding(
        self,
        table: str = "t",
        keys: Sequence[Field] | None = None,
        values: Sequence[Field] | None = None,
        *,
        index: int = 0,
        delta: bool = False,
    ) -> Binding[Any]:
        """Return a binding of a key `id`, a value `v` and the document, if no others are named."""
        return Binding(
            index=index,
            resource=self.resource(table, delta),
            path=(*self.namespace, table),
            collection="acme/collection",
            keys=tuple(keys or [field("id", "integer", key=True)]),
            values=tuple([field("v", "string", "null")] if values is None else values),
            document=field("flow_document", "object"),
            delta_updates=delta,
            backfill=0,
            state_key=f"{table}.v0",
            task=TASK,
        )

    def create(self, *bindings: Binding[Any]) -> None:
        """Make the tables of bindings."""
        with self.connect() as destination:
            destination.prepare([binding.path for binding in bindings])
            for binding in bindings:
                destination.apply(CreateTable(binding, columns(destination, binding)))

    def apply(self, *changes: Change) -> str:
        """Make changes and return what was done."""
        with self.connect() as destination:
            return "\n".join(map(destination.apply, changes))

    def table(self, name: str) -> Table | None:
        """Return the table of a name."""
        with self.connect() as destination:
            found: Sequence[Table | None] = destination.tables([(*self.namespace, name)])
        return found[0]

    @contextmanager
    def opened(
        self, *bindings: Binding[Any], shard: Shard = WHOLE, hard_delete: bool = False
    ) -> Iterator[Any]:
        """Open a session whose fence is installed."""
        with self.open(bindings, shard, hard_delete) as transactor:
            transactor.fence()
            yield transactor


def require_emptying_shuts_out(
    tested: Any, emptying: Callable[[Binding[Any], Table], Change]
) -> None:
    """Empty a table under a running session: it can't commit any more; other tasks can.

    `tested` has the methods of a `SqlEndpoint`. The checkpoint stays as it was.
    """
    binding = tested.binding()
    tested.create(binding)
    another = Shard("acme/another", 0, KEY_END_MAX)
    with tested.opened(binding) as older, tested.opened(binding, shard=another) as bystander:
        older.store(stores((1, "old")))
        older.commit(b'{"n":1}')
        tested.apply(emptying(binding, tested.table("t")))
        older.store(stores((2, "late")))
        try:
            older.commit(b'{"n":2}')
            raise AssertionError("rows of an older process came into a table that was emptied")
        except Fenced:
            pass
        bystander.commit(b"{}")
    with tested.opened(binding) as newer:
        assert newer.fence() == b'{"n":1}'
        assert loaded(newer, 1, 2) == []
