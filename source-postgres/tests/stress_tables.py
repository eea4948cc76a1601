"""Tables of every mode and replica identity, somebody who changes them, and what each promises."""

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg

ROWS = 400
LONG = 3000
Row = tuple[int, int, str | None]


@dataclass(frozen=True)
class Kind:
    """A table: the mode it is captured in, and its replica identity."""

    mode: str
    identity: str

    @property
    def name(self) -> str:
        return f"{self.mode} {self.identity}".lower().replace(" ", "_")

    @property
    def has_key(self) -> bool:
        return self.mode != "Without Primary Key"

    @property
    def statements(self) -> list[str]:
        name = self.name
        unique = f"create unique index {name}_key on {name} (id)"
        identity = f"using index {name}_key" if self.identity == "index" else self.identity
        return [
            f"create table {name} (id int not null, v bigint, long text)",
            f"alter table {name} alter column long set storage external",
            *([f"alter table {name} add primary key (id)"] if self.has_key else []),
            *([unique] if self.identity == "index" else []),
            f"alter table {name} replica identity {identity}",
            f"insert into {name} "
            f"select i * 2, i, repeat('z', {LONG}) from generate_series(1, {ROWS}) i",
        ]

    @property
    def changes(self) -> list[str]:
        """What may be done to it: without an identity the server refuses all but insertions."""
        name = self.name
        insertion = f"insert into {name} values (%(new)s, %(v)s, repeat(%(c)s, {LONG}))"
        if self.identity == "nothing" or (not self.has_key and self.identity != "full"):
            return [insertion]
        if not self.has_key:
            return [
                insertion,
                f"update {name} set v = %(v)s where id = %(id)s",
                f"delete from {name} where id = %(id)s",
            ]
        return [
            f"insert into {name} values (%(id)s, %(v)s, repeat(%(c)s, {LONG})) "
            "on conflict do nothing",
            f"update {name} set v = %(v)s where id = %(id)s",
            f"update {name} set v = %(v)s, long = repeat(%(c)s, {LONG}) where id = %(id)s",
            f"delete from {name} where id = %(id)s",
            f"update {name} set id = %(to)s, v = %(v)s where id = %(id)s "
            f"and not exists (select from {name} where id = %(to)s)",
        ]

    def wrong(self, want: Iterable[Row], got: Iterable[Row], since: int) -> list[Row]:
        """Return the rows in which a collection breaks its promise; at most a few.

        All but `Only Changes` have every row; that has those written after `since`, when it began,
        without long values that no change has touched. What has a key has nothing else; without
        one, every version is there.
        """
        there, here = set(want), set(got)
        if self.mode == "Only Changes" and self.identity == "default":
            there = {(*row[:2], None) for row in there}
            here = {(*row[:2], None) for row in here}
        if self.mode == "Only Changes":
            missing = {row for row in there - here if row[1] > since}
        else:
            missing = there - here
        stale = here - there if self.has_key else set()
        return sorted(missing | stale, key=str)[:5]


KINDS = tuple(
    Kind(mode, identity)
    for mode, identities in {
        "Precise": ("default", "full", "index", "nothing"),
        "Normal": ("default", "full", "index", "nothing"),
        "Only Changes": ("default", "full"),
        "Without Primary Key": ("full", "nothing"),
    }.items()
    for identity in identities
)


class Writer:
    """Changes rows at random, in transactions of any size, some of them rolled back.

    What it writes has a `v` greater than any before, the last of which is `v`.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], seed: int) -> None:
        self._chance = random.Random(seed)
        self._connect = connect
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.error: Exception | None = None
        self.v = ROWS

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._connect() as connection:
                connection.autocommit = False
                while not self._stop.wait(self._chance.random() * 0.01):
                    self._transaction(connection)
        except psycopg.Error as error:
            self.error = error

    def _transaction(self, connection: psycopg.Connection[Any]) -> None:
        chance = self._chance
        for _ in range(chance.choice([1, 1, 1, 5, 40])):
            self.v += 1
            values = {
                "id": chance.randrange(ROWS * 2),
                "to": chance.randrange(ROWS * 2),
                "new": self.v + ROWS * 2,
                "v": self.v,
                "c": chance.choice("abc"),
            }
            statement = chance.choice(chance.choice(KINDS).changes)
            connection.execute(statement.encode(), values)
        if chance.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()


def folded(documents: Iterable[bytes], *, has_key: bool) -> list[Row]:
    """Merge documents by key, as the discovered schema's reduction does; without one, keep all."""
    rows: dict[Any, dict[str, Any]] = {}
    for raw in documents:
        document = msgspec.json.decode(raw)
        meta = document.pop("_meta")
        key = document["id"] if has_key else tuple(meta["source"]["loc"])
        if meta["op"] == "d":
            rows.pop(key, None)
        else:
            rows[key] = rows.get(key, {}) | document
    return [(row["id"], row["v"], row.get("long")) for row in rows.values()]


def judge(
    run: Callable[[str], list[tuple[Any, ...]]],
    got: Mapping[Kind, Iterable[Row]],
    since: Mapping[Kind, int],
) -> dict[str, list[Row]]:
    """Return what is wrong with each collection, beside the tables as they are now."""
    found = {
        kind.name: kind.wrong(
            run(f"select id, v, long from {kind.name}"), got[kind], since.get(kind, 0)
        )
        for kind in KINDS
    }
    return {name: rows for name, rows in found.items() if rows}
