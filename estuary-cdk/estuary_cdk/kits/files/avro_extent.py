"""What an Avro schema lets a few bytes become, told before anything is read with it.

Damaged or hostile files mustn't cost more than they have bytes: arrays of values that take none are
refused, and schemas that say more than `PLACES_MAX` values stand in one. Types that contain
themselves are told, for they nest as deep as the data says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PLACES_MAX: Final = 100_000
RECORDS: Final = frozenset({"record", "error"})


@dataclass(slots=True)
class _Walk:
    names: Mapping[str, Any]
    known: dict[str, tuple[bool, int]] = field(default_factory=dict)
    above: list[str] = field(default_factory=list)
    is_recursive: bool = False

    def extent(self, schema: Any) -> tuple[bool, int]:
        """Return whether a value takes no byte, and how many places the schema has for values."""
        if isinstance(schema, str):
            return self._named(schema)
        if isinstance(schema, list):
            return False, self._limited(1 + sum(self.extent(branch)[1] for branch in schema))
        kind = schema["type"]
        if kind in RECORDS:
            return self._record(schema)
        if kind == "array":
            free, places = self.extent(schema["items"])
            if free:
                raise ValueError("it has arrays of values without a byte")
            return False, self._limited(1 + places)
        if kind == "map":
            return False, self._limited(1 + self.extent(schema["values"])[1])
        if kind in {"enum", "fixed"}:
            return schema.get("size") == 0, 1
        return self.extent(kind)

    def _named(self, name: str) -> tuple[bool, int]:
        if name in self.above:
            # It ends somewhere only where a union, an array or a map says so, by a byte.
            self.is_recursive = True
            return False, 1
        if name not in self.names:
            return name == "null", 1
        if name not in self.known:
            return self.extent(self.names[name])
        return self.known[name]

    def _record(self, schema: Any) -> tuple[bool, int]:
        name = schema["name"]
        self.above.append(name)
        found = [self.extent(each["type"]) for each in schema["fields"]]
        self.above.pop()
        free = all(free for free, _ in found)
        self.known[name] = free, self._limited(1 + sum(places for _, places in found))
        return self.known[name]

    def _limited(self, places: int) -> int:
        if places > PLACES_MAX:
            raise ValueError(f"its schema has more than {PLACES_MAX} places for values")
        return places


def is_recursive(schema: Any, names: Mapping[str, Any]) -> bool:
    """Tell whether a parsed schema, one of whose `names` it may be, has types within themselves.

    Raises ValueError where few bytes could become much more.
    """
    walk = _Walk(names)
    walk.extent(schema)
    return walk.is_recursive
