"""What BigQuery's tables look like: the emulator's memory of them, completed.

The emulator keeps rows. What a table says of itself (exact types, descriptions, partitions, what
ALTER TABLE changed) is kept here, from the statements and requests that said it, and written back
to the emulator's catalog, so that INFORMATION_SCHEMA has it too as far as it can.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from estuary_cdk.testing.bigquery_faults import Refusal
from estuary_cdk.testing.bigquery_sql import (
    Action,
    Alter,
    Create,
    Drop,
    Field,
    Name,
    Statement,
    emulated,
    spelled,
)

Resource = dict[str, Any]
"""What a table says of itself, as the REST API tells it; only the attributes of `KEPT`."""
KEPT: Final = (
    "clustering",
    "description",
    "expirationTime",
    "friendlyName",
    "labels",
    "rangePartitioning",
    "requirePartitionFilter",
    "schema",
    "timePartitioning",
)
WIDER: Final[Mapping[str, frozenset[str]]] = {
    "INTEGER": frozenset({"NUMERIC", "BIGNUMERIC", "FLOAT"}),
    "NUMERIC": frozenset({"BIGNUMERIC", "FLOAT"}),
    "BIGNUMERIC": frozenset({"FLOAT"}),
}
"""Which types a column may be given that has another."""


class Refused(Exception):  # noqa: N818 - what it says is a refusal
    """The service wouldn't do that."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(reason, message)


class Emulator(Protocol):
    """Where requests go on to."""

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Resource]:
        """Ask for a path; returns the status and the answer."""
        ...

    async def run(self, project: str, sql: str, settings: Mapping[str, Any]) -> None:
        """Run a statement in the emulator's own words; raises Refused."""
        ...


@dataclass(slots=True)
class Tables:
    """Everything that was said of tables; those nobody described are as the emulator says."""

    emulator: Emulator
    known: dict[Name, Resource] = field(default_factory=dict)
    counts: dict[Name, int] = field(default_factory=dict)
    """How many rows tables had; to be cleared by whoever changes any."""

    async def find(self, name: Name) -> Resource | None:
        """Return what a table says of itself now; None: there is none."""
        status, answer = await self.emulator.ask("GET", name.path)
        if status != 200:
            self.known.pop(name, None)
            return None
        if name in self.known:
            return deepcopy(self.known[name])
        return {key: answer[key] for key in KEPT if key in answer}

    async def told(self, name: Name, answer: Resource) -> Resource:
        """Complete the emulator's answer about a table."""
        if name in self.known:
            answer = {key: value for key, value in answer.items() if key not in KEPT}
            answer.update(self.known[name])
        if answer.get("type") == "TABLE":
            answer["numRows"] = str(await self.count(name))
        return answer

    async def count(self, name: Name) -> int:
        """Count a table's rows; of no table there are none. What streams wrote may not be in it."""
        if name not in self.counts:
            # S608: it names a table that we were asked for.
            sql = f"SELECT COUNT(*) AS n FROM {name.quoted}"  # noqa: S608
            self.counts[name] = await self._number(name, sql)
        return self.counts[name]

    async def _number(self, name: Name, sql: str) -> int:
        body = {"query": sql, "useLegacySql": False}
        path = f"/bigquery/v2/projects/{name.project}/queries"
        _status, answer = await self.emulator.ask("POST", path, body)
        rows = answer.get("rows")
        return int(rows[0]["f"][0]["v"]) if rows else 0

    async def create(self, name: Name, resource: Mapping[str, Any]) -> None:
        """Make a table with the columns of its description; raises Refused."""
        kept = {key: deepcopy(resource[key]) for key in KEPT if key in resource}
        columns = [
            f"`{each['name']}` {spelled(each)}{' NOT NULL' * (each.get('mode') == 'REQUIRED')}"
            for each in kept["schema"]["fields"]
        ]
        sql = f"CREATE TABLE {name.quoted} ({', '.join(columns)})"
        await self.emulator.run(name.project, emulated(sql), {})
        await self.keep({name: kept})
        self.counts[name] = 0

    async def insert(self, name: Name, resource: Mapping[str, Any]) -> None:
        """Do `tables.insert`; raises Refused."""
        if await self.find(name) is not None:
            told = f"{name.project}:{name.dataset}.{name.table}"
            raise Refused("duplicate", f"Already Exists: Table {told}")
        fields = [normal(each) for each in resource["schema"]["fields"]]
        await self.create(name, {**resource, "schema": {"fields": fields}})

    async def update(self, name: Name, body: Mapping[str, Any], *, whole: bool) -> None:
        """Do `tables.patch`, or `tables.update` of the whole; raises Refused."""
        before = await self.find(name)
        if before is None:
            told = f"{name.project}:{name.dataset}.{name.table}"
            raise Refused("notFound", f"Not found: Table {told}")
        after = {"schema": before["schema"]} if whole else before
        if body.get("schema"):
            after = {**after, **await self.change(name, body["schema"]["fields"])}
        said = {key: body[key] for key in KEPT if key in body and key != "schema"}
        kept = {key: value for key, value in {**after, **said}.items() if value is not None}
        await self.keep({name: kept})

    async def change(self, name: Name, fields: Sequence[Field]) -> Resource:
        """Give a table the columns of a request, as far as that may be done so."""
        before = await self.find(name) or {}
        actions = list(_differences(before["schema"]["fields"], fields))
        for action in actions:
            if action.text:
                sql = f"ALTER TABLE {name.quoted} {action.text}"
                await self.emulator.run(name.project, emulated(sql), {})
        return {**before, "schema": {"fields": [normal(each) for each in fields]}}

    async def after(self, statements: Iterable[Statement]) -> dict[Name, Resource | None]:
        """Return what tables say of themselves once a script has run; raises Refused."""
        changed: dict[Name, Resource | None] = {}
        for each in statements:
            effect = each.effect
            if effect is None:
                continue
            name = effect.name
            before = changed[name] if name in changed else await self.find(name)
            if isinstance(effect, Drop):
                changed[name] = None
            elif isinstance(effect, Alter) and before is not None:
                changed[name] = altered(before, effect.actions)
            elif isinstance(effect, Create) and not (effect.only_if_missing and before is not None):
                changed[name] = await self._created(effect)
        return changed

    async def _created(self, effect: Create) -> Resource | None:
        if effect.copied is not None:
            return await self.find(effect.copied)
        if effect.fields is not None:
            return {**effect.resource, "schema": {"fields": list(effect.fields)}}
        return dict(effect.resource)

    async def keep(self, changed: Mapping[Name, Resource | None]) -> None:
        """Remember what was done, and tell the emulator's catalog."""
        if changed:
            self.counts.clear()
        for name, resource in changed.items():
            self.known.pop(name, None)
            if resource is None:
                continue
            whole = await self._completed(name, resource)
            self.known[name] = whole
            told = ("schema", "description")
            body: Resource = {key: whole[key] for key in told if key in whole}
            await self.emulator.ask("PATCH", name.path, body)

    async def _completed(self, name: Name, resource: Resource) -> Resource:
        """Add what only the emulator knows: the columns that a query gave, calculated times."""
        whole = dict(resource)
        if "schema" not in whole:
            whole["schema"] = ((await self.find(name)) or {}).get("schema", {"fields": []})
        expires = str(whole.get("expirationTime", "0"))
        if not expires.isdigit():
            moment = await self._number(name, f"SELECT UNIX_MILLIS({expires}) AS n")
            whole["expirationTime"] = str(moment)
        return whole

    def forget(self, project: str, dataset: str) -> None:
        """Forget the tables of a dataset."""
        for name in [
            each for each in self.known if (each.project, each.dataset) == (project, dataset)
        ]:
            del self.known[name]


def altered(resource: Resource, actions: Sequence[Action]) -> Resource:
    """Return what a table says of itself after ALTER TABLE; raises Refused."""
    changed = deepcopy(resource)
    fields: list[Field] = changed["schema"]["fields"]
    for action in actions:
        if action.does == "options":
            changed.update(action.options or {})
            continue
        places = [i for i, each in enumerate(fields) if _same(each["name"], action.column)]
        if action.does == "add":
            if places and not action.only_if:
                raise Refused("invalidQuery", f"Column already exists: {action.column}")
            if not places:
                fields.append(_addable(action.field or {}))
        elif not places and action.does != "other":
            raise Refused("invalidQuery", f"Column not found: {action.column}")
        elif places:
            _change(fields, places[0], action)
    return changed


def _change(fields: list[Field], place: int, action: Action) -> None:
    column = fields[place]
    if action.does == "drop":
        del fields[place]
    elif action.does == "rename":
        column["name"] = (action.field or {})["name"]
    elif action.does == "relax":
        column["mode"] = "NULLABLE"
    elif action.does == "describe":
        column.update(action.options or {})
    elif action.does == "widen":
        wanted = action.field or {}
        if not _holds(wanted, column):
            raise Refused(
                "invalidQuery",
                "ALTER TABLE ALTER COLUMN SET DATA TYPE requires that the existing column type "
                f"({spelled(column)}) is assignable to the new type ({spelled(wanted)})",
            )
        for key in ("precision", "scale", "maxLength"):
            column.pop(key, None)
        column.update(wanted)


def _holds(wanted: Field, column: Field) -> bool:
    """Say whether a type takes all values of a column."""
    if wanted["type"] != column["type"]:
        return wanted["type"] in WIDER.get(column["type"], ())
    if not {"precision", "maxLength"} & wanted.keys():
        return True
    return bool({"precision", "maxLength"} & column.keys()) and all(
        now >= was for now, was in zip(_room(wanted), _room(column), strict=True)
    )


def _room(column: Field) -> tuple[int, int, int]:
    scale = int(column.get("scale", 0))
    return int(column.get("precision", 0)) - scale, scale, int(column.get("maxLength", 0))


def _addable(field: Field) -> Field:
    if field.get("mode") == "REQUIRED":
        raise Refused(
            "invalidQuery",
            f"Cannot add required column {field['name']} to an existing table schema.",
        )
    return field


def _differences(before: Sequence[Field], after: Sequence[Field]) -> Iterable[Action]:
    """Return what turns columns into others, as far as `tables.patch` can do that."""
    wanted = {each["name"].lower(): each for each in after}
    for each in before:
        now = wanted.pop(each["name"].lower(), None)
        if now is None:
            raise Refused(
                "invalid", f"Provided Schema does not match Table. Field {each['name']} is missing"
            )
        was_type, type_now = (spelled(normal(x)) for x in (each, now))
        if was_type != type_now and now.get("type") not in WIDER.get(each["type"], ()):
            raise Refused(
                "invalid",
                "Provided Schema does not match Table. Field "
                f"{each['name']} has changed type from {was_type} to {type_now}",
            )
        modes = each.get("mode", "NULLABLE"), now.get("mode", "NULLABLE")
        if modes[1] == "REQUIRED" != modes[0]:
            raise Refused(
                "invalid",
                "Provided Schema does not match Table. Field "
                f"{each['name']} has changed mode from NULLABLE to REQUIRED",
            )
        column = f"ALTER COLUMN `{each['name']}`"
        if modes[0] == "REQUIRED" != modes[1]:
            yield Action("relax", f"{column} DROP NOT NULL")
        if was_type != type_now:
            yield Action("widen", f"{column} SET DATA TYPE {type_now}")
    for each in wanted.values():
        _addable(each)
        yield Action("add", f"ADD COLUMN `{each['name']}` {spelled(each)}")


def normal(field: Field) -> Field:
    """Spell a column of a request as answers spell it."""
    kind = str(field.get("type", "STRING")).upper()
    names = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
    said = {key: value for key, value in field.items() if value is not None}
    if said.get("fields"):
        said["fields"] = [normal(each) for each in said["fields"]]
    return {"mode": "NULLABLE", **said, "type": names.get(kind, kind)}


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()
