"""What the first records of a stream's first files look like, as a schema.

It is a hint and never a rule for documents: the next file may differ, and a collection that refused
it would stop. So a discovered schema has the names that every record had, of any type, and carries
the types as an annotation, `SAMPLED`; the runtime goes on to infer the schema from all documents.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.fetching import contents
from estuary_cdk.kits.files.following import Selection, hints_of, listed
from estuary_cdk.kits.files.names import RESERVED_NAME
from estuary_cdk.kits.files.reading import FileReader
from estuary_cdk.kits.files.schemas import document_schema
from estuary_cdk.kits.files.stores import FileChanged, Store, StoredFile
from estuary_cdk.logs import get_logger

log = get_logger(__name__)

SAMPLED: Final = "x-sampled-schema"
FILES_MAX: Final = 3
RECORDS_MAX: Final = 1000
PROPERTIES_MAX: Final = 1000
DEPTH_MAX: Final = 8
NAMES: Final = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
    list: "array",
    dict: "object",
}


@dataclass(slots=True)
class Shape:
    """The types seen at one place of the records, and what was seen inside.

    At `depth` `DEPTH_MAX`, and beyond `PROPERTIES_MAX` properties of one place, nothing inside is.
    """

    depth: int = 0
    types: set[str] = field(default_factory=set)
    properties: "dict[str, Shape]" = field(default_factory=dict)
    items: "Shape | None" = None
    count: int = 0

    def see(self, value: Any) -> None:
        """Take note of a decoded JSON value."""
        self.types.add(NAMES[type(value)])
        self.count += 1
        if self.depth == DEPTH_MAX:
            return
        if isinstance(value, dict):
            for name, each in value.items():
                shape = self.properties.get(name)
                if shape is None:
                    if len(self.properties) == PROPERTIES_MAX:
                        continue
                    shape = self.properties[name] = Shape(self.depth + 1)
                shape.see(each)
        elif isinstance(value, list):
            self.items = self.items or Shape(self.depth + 1)
            for each in value:
                self.items.see(each)

    @property
    def common(self) -> list[str]:
        """The names that every value had, all of them objects, in the order of the first."""
        return [name for name, each in self.properties.items() if each.count == self.count]

    def schema(self) -> dict[str, Any]:
        """Return what was seen as a JSON schema."""
        types = self.types - ({"integer"} if "number" in self.types else set())
        named = sorted(types)
        schema: dict[str, Any] = {"type": named[0] if len(named) == 1 else named} if named else {}
        if self.properties:
            names = sorted(self.properties)
            schema["properties"] = {name: self.properties[name].schema() for name in names}
        if self.items is not None and self.items.types:
            schema["items"] = self.items.schema()
        return schema


async def discovered_schema(store: Store, selection: Selection) -> dict[str, Any]:
    """Return the schema of a stream's documents, with what a sample of them has."""
    schema = document_schema()
    shape = await sampled(store, selection)
    if shape.count:
        schema["properties"] |= {name: {} for name in shape.common if name != RESERVED_NAME}
        schema[SAMPLED] = shape.schema()
    return schema


async def sampled(store: Store, selection: Selection) -> Shape:
    """Return the shape of the first records of the first files.

    A file that can't be read is passed over with a warning, which the capture would stop at. Raises
    what the store does.
    """
    shape = Shape()
    for file in await _first(store, selection):
        try:
            for body in await _records(store, selection, file):
                shape.see(msgspec.json.decode(b"{" + body))
        except (DataError, FileChanged) as error:
            log.warning("sample can't be read", file=file.path, reason=str(error))
    return shape


async def _first(store: Store, selection: Selection) -> Sequence[StoredFile]:
    async with aclosing(listed(store, selection)) as pages:
        async for page in pages:
            if files := [file for file in page if file.size]:
                return files[:FILES_MAX]
    return ()


async def _records(store: Store, selection: Selection, file: StoredFile) -> list[bytes]:
    hints = await hints_of(store, file, selection.parser)
    reader = FileReader(selection.root + file.path, selection.parser, hints)
    bodies: list[bytes] = []
    async with aclosing(contents(store, file, reader)) as stretches:
        async for stretch in stretches:
            for records in stretch.records:
                bodies += records.bodies
            if len(bodies) >= RECORDS_MAX:
                break
    return bodies[:RECORDS_MAX]
