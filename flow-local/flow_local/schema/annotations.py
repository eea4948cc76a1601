"""Which `reduce` annotation governs a location, chosen by the value that stands there.

A location is a set of schemas that all apply to a value. Some of what they say is unconditional
(`allOf`, `$ref`), some depends on the value (`if`, `oneOf`, `anyOf`, `dependentSchemas`).
A location is *settled* once the conditions are answered: then one annotation governs it, and the
locations of its properties and items are known. Everything is compiled on first use and kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from estuary_cdk.errors import ConfigError, shortened
from flow_local.schema import dialect, pointers
from flow_local.schema.conditions import Condition, Conditions, Marks
from flow_local.schema.dialect import Schema
from flow_local.schema.patterns import matches
from flow_local.schema.pointers import Tokens

_OPTIONS = {
    "firstWriteWins": frozenset[str](),
    "lastWriteWins": frozenset({"delete", "associative"}),
    "merge": frozenset({"key", "delete", "associative"}),
    "minimize": frozenset({"key"}),
    "maximize": frozenset({"key"}),
    "sum": frozenset[str](),
    "set": frozenset({"key"}),
    "append": frozenset[str](),
    "jsonSchemaMerge": frozenset[str](),
}
CHILDREN_KEPT_MAX = 10_000  # per settled location; names come from documents


@dataclass(frozen=True, slots=True)
class Annotation:
    """One `reduce` annotation."""

    strategy: str
    key: tuple[Tokens, ...] = ()
    delete: bool = False
    associative: bool = True


LAST_WRITE_WINS = Annotation("lastWriteWins")


def annotation(value: Any, pointer: str) -> Annotation:
    """Read an annotation; raises ConfigError naming `pointer`, its place in the schema."""
    if not isinstance(value, dict) or value.get("strategy") not in _OPTIONS:
        raise ConfigError(
            f"can't use the reduce annotation at {pointer}: {shortened(value, 80)}",
            hint=f"strategy is one of {', '.join(_OPTIONS)}",
        )
    strategy = value["strategy"]
    for option, given in value.items():
        if option != "strategy" and option not in _OPTIONS[strategy]:
            raise ConfigError(
                f"can't use the reduce annotation at {pointer}: {strategy} has no {option!r}"
            )
        if option in ("delete", "associative") and not isinstance(given, bool):
            raise ConfigError(
                f"can't use the reduce annotation at {pointer}: {option} isn't a bool"
            )
    key = value.get("key", ())
    if not isinstance(key, list | tuple) or not all(isinstance(part, str) for part in key):
        raise ConfigError(f"can't use the reduce annotation at {pointer}: key isn't a list")
    return Annotation(
        strategy,
        tuple(pointers.tokens(part) for part in key),
        value.get("delete", False),
        value.get("associative", True),
    )


class Annotations:
    """All locations of one plain schema. Raises ConfigError for a bad annotation in it."""

    def __init__(self, root: Schema) -> None:
        self.schema = root
        self.conditions = Conditions(root)
        self.read = dict(_annotations(root, ()))
        self._locations: dict[tuple[int, ...], Location] = {}
        self.root = self.location([root])

    def location(self, schemas: list[Schema]) -> "Location":
        """Return the location where these schemas apply, the same one for the same schemas."""
        identity = tuple(id(schema) for schema in schemas)
        if identity not in self._locations:
            self._locations[identity] = Location(self, schemas)
        return self._locations[identity]

    def strategies(self, schemas: list[Schema]) -> list[Annotation]:
        """Return all annotations these schemas hold, here or anywhere below."""
        found: list[Annotation] = []
        seen: set[int] = set()
        waiting = list(schemas)
        while waiting:
            node = waiting.pop()
            if not isinstance(node, dict) or id(node) in seen:
                continue
            seen.add(id(node))
            if id(node) in self.read:
                found.append(self.read[id(node)])
            if "$ref" in node:
                waiting.append(dialect.followed(self.schema, node["$ref"]))
            waiting += [
                child
                for path, child in dialect.children(node)
                if path[0] not in ("$defs", "definitions")
            ]
        return found


class Location:
    """Schemas that apply to one value, with their open conditions."""

    def __init__(self, owner: Annotations, schemas: list[Schema]) -> None:
        self._owner = owner
        self._schemas = schemas
        self._settled: dict[tuple[bool, ...], Settled] = {}
        active = _Active(owner)
        for schema in schemas:
            active.add(schema)
        self._conditions: list[Condition] = [choice.holds for choice in active.choices]
        self._active = active
        self._only = None if self._conditions else Settled(owner, active.nodes)
        alternatives = self.alternatives
        self.deletes = any(each.delete for each in alternatives)
        # Whether a newer value always takes the place of the older one, and is never a delete.
        self.replaces = all(each == LAST_WRITE_WINS for each in alternatives)

    def settled(self, value: bytes) -> "Settled":
        """Answer the conditions for a value."""
        if self._only is not None:
            return self._only
        if len(self._conditions) == 1:
            answers: tuple[bool, ...] = (self._conditions[0](value),)
        else:
            answers = tuple([holds(value) for holds in self._conditions])
        settled = self._settled.get(answers)
        if settled is None:
            settled = self._settled[answers] = self._settle(answers, value)
        return settled

    def _settle(self, answers: tuple[bool, ...], value: bytes) -> "Settled":
        chosen = list(self._active.nodes)
        for choice, answer in zip(self._active.choices, answers, strict=True):
            branch = choice.then if answer else choice.otherwise
            if branch:
                chosen += self._owner.location(branch).settled(value).nodes
        return Settled(self._owner, chosen)

    def delete_marks(self) -> Marks | None:
        """Return what values that delete have, at one of the pointers at least.

        None where no such thing is known.
        """
        owner = self._owner
        if any(owner.read[id(n)].delete for n in self._active.nodes if id(n) in owner.read):
            return None
        found: Marks = {}
        for choice in self._active.choices:
            if any(each.delete for each in owner.strategies(choice.otherwise)):
                return None
            if any(each.delete for each in owner.strategies(choice.then)):
                marks = owner.conditions.marks(choice.schema)
                if marks is None:
                    return None
                for pointer, texts in marks.items():
                    found[pointer] = found.get(pointer, frozenset()) | texts
        return found

    @property
    def alternatives(self) -> list[Annotation]:
        """Every annotation that may come to govern this location, whatever the value."""
        found: dict[Annotation, None] = {}
        waiting: list[list[Schema]] = [self._schemas]
        seen: set[tuple[int, ...]] = set()
        while waiting:
            active = _Active(self._owner)
            for schema in waiting.pop():
                active.add(schema)
            read = self._owner.read
            found.update({read[id(node)]: None for node in active.nodes if id(node) in read})
            for choice in active.choices:
                for branch in (choice.then, choice.otherwise):
                    identity = tuple(id(schema) for schema in branch)
                    if identity not in seen:
                        seen.add(identity)
                        waiting.append(branch)
        return list(found)


class Settled:
    """A location whose conditions are answered."""

    def __init__(self, owner: Annotations, nodes: list[dict[str, Any]]) -> None:
        self._owner = owner
        self.nodes = nodes
        self.annotation = _the_one(
            [owner.read[id(node)] for node in nodes if id(node) in owner.read]
        )
        self._children: dict[str, Location] = {}
        self._items: dict[int, Location] = {}
        self._tuples = max((len(node.get("prefixItems", ())) for node in nodes), default=0)
        below = [
            child for node in nodes for path, child in dialect.children(node) if path[0] in _BELOW
        ]
        inner = owner.strategies(below)
        # Whether reducing a value that has no older one can change it.
        self.changes_alone = any(each.delete or each.strategy == "set" for each in inner)
        # Whether newer children always take the place of older ones.
        self.replaces_children = not inner

    def property(self, name: str) -> Location:
        """Return the location of a property of the object here."""
        location = self._children.get(name)
        if location is None:
            if len(self._children) >= CHILDREN_KEPT_MAX:
                self._children.clear()
            schemas = [child for node in self.nodes for child in _for_property(node, name)]
            location = self._children[name] = self._owner.location(schemas)
        return location

    def item(self, index: int) -> Location:
        """Return the location of an item of the array here."""
        index = min(index, self._tuples)
        if index not in self._items:
            schemas: list[Schema] = []
            for node in self.nodes:
                first = node.get("prefixItems", ())
                schemas.append(first[index] if index < len(first) else node.get("items", True))
            self._items[index] = self._owner.location(schemas)
        return self._items[index]


_BELOW = frozenset(
    ["properties", "patternProperties", "additionalProperties", "items", "prefixItems"]
)


@dataclass(frozen=True, slots=True)
class _Choice:
    schema: Schema
    holds: Condition
    then: list[Schema]
    otherwise: list[Schema]


class _Active:
    """Collects the nodes that surely apply and the choices that depend on the value."""

    def __init__(self, owner: Annotations) -> None:
        self._owner = owner
        self._seen: set[int] = set()
        self.nodes: list[dict[str, Any]] = []
        self.choices: list[_Choice] = []

    def add(self, schema: Schema) -> None:
        if not isinstance(schema, dict) or id(schema) in self._seen:
            return
        self._seen.add(id(schema))
        self.nodes.append(schema)
        if "$ref" in schema:
            self.add(dialect.followed(self._owner.schema, schema["$ref"]))
        for part in schema.get("allOf", ()):
            self.add(part)
        self._add_choices(schema)

    def _add_choices(self, schema: dict[str, Any]) -> None:
        condition = self._owner.conditions.condition
        if "if" in schema:
            # What `if` says applies as well where it holds.
            then = [schema[keyword] for keyword in ("if", "then") if keyword in schema]
            otherwise = [schema["else"]] if "else" in schema else []
            if self._matters([*then, *otherwise]):
                self.choices.append(_Choice(schema["if"], condition(schema["if"]), then, otherwise))
        for keyword in ("anyOf", "oneOf"):
            for branch in schema.get(keyword, ()):
                if self._matters([branch]):
                    self.choices.append(_Choice(branch, condition(branch), [branch], []))
        for name, branch in schema.get("dependentSchemas", {}).items():
            if self._matters([branch]):
                present: Schema = {"required": [name]}
                self.choices.append(_Choice(present, condition(present), [branch], []))

    def _matters(self, schemas: list[Schema]) -> bool:
        return bool(self._owner.strategies(schemas))


def _annotations(schema: Schema, path: Tokens) -> Iterator[tuple[int, Annotation]]:
    if not isinstance(schema, dict):
        return
    if "reduce" in schema:
        yield id(schema), annotation(schema["reduce"], pointers.joined((*path, "reduce")))
    for inner, child in dialect.children(schema):
        yield from _annotations(child, (*path, *map(str, inner)))


def _for_property(node: dict[str, Any], name: str) -> list[Schema]:
    found: list[Schema] = []
    if name in node.get("properties", {}):
        found.append(node["properties"][name])
    found += [
        child
        for pattern, child in node.get("patternProperties", {}).items()
        if matches(pattern, name)
    ]
    return found or [node[k] for k in ("additionalProperties",) if k in node]


def _the_one(found: list[Annotation]) -> Annotation:
    distinct = list(dict.fromkeys(found))
    if len(distinct) > 1:
        names = " and ".join(each.strategy for each in distinct)
        raise ConfigError(
            f"can't reduce: {names} are both annotated at one location",
            hint="keep one reduce annotation, or make their conditions exclusive",
        )
    return distinct[0] if distinct else LAST_WRITE_WINS
