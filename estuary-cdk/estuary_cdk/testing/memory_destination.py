"""A destination in memory, in each of the three commit patterns: an example and a fake.

    server = MemoryServer()
    materialization = memory_materialization(server, RemoteTransactor)

The server outlives the connectors that use it, as a database does. Its columns are typed (integer,
number, boolean, string, json), may refuse nulls, and can change from a type to a wider one. Values
are kept as JSON text. Deletions delete rows if the config says `hardDelete`.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, assert_never

import msgspec
from msgspec import Raw

from estuary_cdk.config import EndpointConfig, ResourceConfig, setting
from estuary_cdk.errors import ConfigError, DataError, Fenced
from estuary_cdk.failpoints import failpoint
from estuary_cdk.materialize import (
    AddColumns,
    AllowRepeats,
    Binding,
    Change,
    Column,
    CreateTable,
    Field,
    Fit,
    Forbidden,
    Keys,
    Loaded,
    Materialization,
    MigrateColumn,
    Path,
    RecreateTable,
    RelaxColumns,
    Rules,
    Shard,
    Stores,
    Table,
    Transactor,
    TruncateTable,
)
from estuary_cdk.materialize.changes import description

NAME_LENGTH_MAX: Final = 200
WIDER: Final = {
    "integer": {"number", "string"},
    "number": {"string"},
    "boolean": {"string"},
    "json": {"string"},
    "string": {"json"},
}

_ITEMS = msgspec.json.Decoder(list[Raw])


class Config(EndpointConfig):
    """The config of the example."""

    hard_delete: bool = setting(
        False, title="Hard Delete", description="Delete rows.", alias="hardDelete"
    )


class Resource(ResourceConfig):
    """The resource config of the example."""

    table: str = setting(title="Table", description="Its name.", collection_name=True)
    delta_updates: bool = setting(
        False, title="Delta Updates", description="Append only.", delta_updates=True
    )


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row to write or, with `values` None, to delete."""

    path: Path
    key: object
    values: dict[str, bytes] | None


@dataclass(slots=True)
class MemoryTable:
    """Columns by name, and rows by key; a row repeats its key's values as columns."""

    columns: dict[str, Column]
    rows: dict[object, dict[str, bytes]] = field(default_factory=dict)


@dataclass(slots=True)
class Fence:
    """The fence and the checkpoint of one range of a task."""

    fence: int
    checkpoint: bytes | None


class MemoryServer:
    """Tables, checkpoints and staged work, for as long as this object lives."""

    def __init__(self) -> None:
        self.tables: dict[Path, MemoryTable] = {}
        self.fences: dict[tuple[str, int, int], Fence] = {}
        self.stages: dict[str, list[RowChange]] = {}
        self.serial = itertools.count()

    def write(self, changes: Sequence[RowChange]) -> None:
        """Write rows; raises DataError for a null in a column that takes none."""
        for change in changes:
            table = self.tables[change.path]
            if change.values is None:
                table.rows.pop(change.key, None)
                continue
            for name, value in change.values.items():
                if value == b"null" and not table.columns[name].nullable:
                    raise DataError(f"can't store null in column {name!r}")
            table.rows[change.key] = change.values

    def install(self, shard: Shard) -> Fence:
        """Shut out whoever overlaps a shard; return its fence, and the checkpoint it inherits."""
        for (task, begin, end), other in self.fences.items():
            if task == shard.task and end >= shard.key_begin and begin <= shard.key_end:
                other.fence += 1
        covering = [
            (end - begin, other)
            for (task, begin, end), other in self.fences.items()
            if task == shard.task and begin <= shard.key_begin and end >= shard.key_end
        ]
        parent = min(covering, key=lambda each: each[0])[1] if covering else Fence(0, None)
        own = (shard.task, shard.key_begin, shard.key_end)
        self.fences.setdefault(own, Fence(parent.fence, parent.checkpoint))
        return self.fences[own]


def column_type(column_field: Field) -> str | Forbidden:
    """Return the plainest type that takes all of a field's values."""
    types = [each for each in column_field.inference.types if each != "null"]
    if len(types) == 1 and types[0] in {"integer", "number", "boolean", "string"}:
        return types[0]
    return "json"


def fit(existing: Column, wanted: Column, _field: Field) -> Fit:
    """Compare types: a wider one can be migrated to."""
    if existing.type == wanted.type:
        return Fit.COMPATIBLE
    return Fit.MIGRATABLE if wanted.type in WIDER[existing.type] else Fit.INCOMPATIBLE


RULES: Final = Rules(column_type=column_type, fit=fit, name_length_max=NAME_LENGTH_MAX)


@dataclass(frozen=True, slots=True)
class MemoryDestination:
    """See `Destination`."""

    server: MemoryServer
    rules: Rules = RULES

    def tables(self, paths: Sequence[Path]) -> Sequence[Table | None]:
        found = [self.server.tables.get(path) for path in paths]
        return [
            None if table is None else Table(path, tuple(table.columns.values()))
            for path, table in zip(paths, found, strict=True)
        ]

    def prepare(self, paths: Sequence[Path]) -> Sequence[str]:
        for path in paths:
            if not all(path):
                raise ConfigError("can't create a table without a name")
        return []

    def apply(self, change: Change) -> str:
        tables, path = self.server.tables, change.binding.path
        match change:
            case CreateTable() | RecreateTable():
                tables[path] = MemoryTable({column.name: column for column in change.columns})
            case TruncateTable():
                tables[path].rows.clear()
            case AddColumns() | RelaxColumns():
                tables[path].columns.update({column.name: column for column in change.columns})
                for row, column in itertools.product(tables[path].rows.values(), change.columns):
                    row.setdefault(column.name, b"null")
            case MigrateColumn():
                tables[path].columns[change.after.name] = change.after
            case AllowRepeats():
                pass  # rows of bindings with delta updates get keys of their own
            case _:
                assert_never(change)
        return description(change)


class _Lookups:
    """What the three patterns share: staged keys, their lookup, and stores as changes."""

    def __init__(
        self, server: MemoryServer, config: Config, bindings: Sequence[Binding[Resource]]
    ) -> None:
        self.server = server
        self._hard_delete = config.hard_delete
        self._bindings = bindings
        self._staged: list[Keys] = []

    def stage(self, keys: Keys) -> None:
        self._staged.append(keys)

    def loaded(self) -> Iterator[Loaded]:
        staged, self._staged = self._staged, []
        for keys in staged:
            binding = self._bindings[keys.binding]
            assert binding.document is not None
            rows = self.server.tables[binding.path].rows
            found = (rows.get(_row_key(key)) for key in keys.keys)
            column = binding.document.column
            yield Loaded(keys.binding, [row[column] for row in found if row is not None])

    def changes(self, batch: Stores) -> list[RowChange]:
        """Return what a batch does to its table."""
        binding = self._bindings[batch.binding]
        names = [each.column for each in binding.fields]
        changes = []
        for index, key in enumerate(batch.keys):
            if batch.deletes[index] and self._hard_delete and not binding.delta_updates:
                if batch.exists[index]:
                    changes.append(RowChange(binding.path, _row_key(key), None))
                continue
            document = [] if batch.documents is None else [batch.documents[index]]
            items = [*_items(key), *_items(batch.values[index]), *document]
            row_key = next(self.server.serial) if binding.delta_updates else _row_key(key)
            changes.append(RowChange(binding.path, row_key, dict(zip(names, items, strict=True))))
        return changes


class RemoteTransactor:
    """Commits rows and checkpoint at once: see `RemoteAuthoritative`."""

    def __init__(
        self,
        server: MemoryServer,
        config: Config,
        bindings: Sequence[Binding[Resource]],
        shard: Shard,
    ) -> None:
        self._lookups = _Lookups(server, config, bindings)
        self._shard = shard
        self._changes: list[RowChange] = []
        self._own = Fence(0, None)
        self._fence = 0
        self.stage, self.loaded = self._lookups.stage, self._lookups.loaded

    def fence(self) -> bytes | None:
        self._own = self._lookups.server.install(self._shard)
        self._fence = self._own.fence
        return self._own.checkpoint

    def store(self, batch: Stores) -> None:
        self._changes += self._lookups.changes(batch)

    def commit(self, checkpoint: bytes) -> None:
        if self._own.fence != self._fence:
            raise Fenced("can't commit: a newer instance of this task took over")
        self._lookups.server.write(self._changes)
        self._own.checkpoint = checkpoint
        self._changes = []


class StagingTransactor:
    """Sets rows aside and writes them once that is durable: see `PostCommitApply`."""

    def __init__(
        self,
        server: MemoryServer,
        config: Config,
        bindings: Sequence[Binding[Resource]],
        shard: Shard,
    ) -> None:
        del shard  # names of stages are unique anyway
        self._lookups = _Lookups(server, config, bindings)
        self._changes: dict[int, list[RowChange]] = {}
        self.stage, self.loaded = self._lookups.stage, self._lookups.loaded

    def store(self, batch: Stores) -> None:
        self._changes.setdefault(batch.binding, []).extend(self._lookups.changes(batch))

    def staged(self) -> Mapping[int, bytes]:
        server, names = self._lookups.server, {}
        for binding, changes in self._changes.items():
            name = f"stage-{next(server.serial)}"
            server.stages[name] = changes
            names[binding] = name.encode()
        self._changes = {}
        return names

    def apply(self, staged: Mapping[int, bytes]) -> None:
        server = self._lookups.server
        for name in staged.values():
            # What is gone was applied: it is removed last.
            server.write(server.stages.get(name.decode(), []))
            failpoint("memory.applied")
            server.stages.pop(name.decode(), None)


class DirectTransactor:
    """Writes rows as they come: see `AtLeastOnce`."""

    def __init__(
        self,
        server: MemoryServer,
        config: Config,
        bindings: Sequence[Binding[Resource]],
        shard: Shard,
    ) -> None:
        del shard
        self._lookups = _Lookups(server, config, bindings)
        self.stage, self.loaded = self._lookups.stage, self._lookups.loaded

    def store(self, batch: Stores) -> None:
        self._lookups.server.write(self._lookups.changes(batch))

    def flush(self) -> None:
        """Nothing is held back."""


def _items(text: bytes) -> list[bytes]:
    return [bytes(item) for item in _ITEMS.decode(text)]


def _row_key(key: bytes) -> tuple[bytes, ...]:
    return tuple(_items(key))


Transacting = Callable[[MemoryServer, Config, Sequence[Binding[Resource]], Shard], Transactor]


def memory_materialization(
    server: MemoryServer, transactor: Transacting, rules: Rules = RULES
) -> Materialization[Config, Resource]:
    """Return a materialization into a server, committing as `transactor` does."""

    @contextmanager
    def connect(_config: Config) -> Iterator[MemoryDestination]:
        yield MemoryDestination(server, rules)

    @contextmanager
    def opened(
        config: Config, bindings: Sequence[Binding[Resource]], shard: Shard
    ) -> Iterator[Transactor]:
        yield transactor(server, config, bindings, shard)

    return Materialization(
        config=Config,
        resource=Resource,
        connect=connect,
        open=opened,
        docs="https://go.estuary.dev/materialize-memory",
    )
