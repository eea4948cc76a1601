"""A test of a catalog, run step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from estuary_cdk.errors import ConfigError, DataError
from flow_local.catalog import Collection, Ingest, Location, Test, Verify
from flow_local.catalog_tests.comparing import MISSING, Difference, differences
from flow_local.catalog_tests.contents import Contents


@dataclass(frozen=True, slots=True)
class Odd:
    """A document that isn't as expected: its key, as an array, and what differs.

    One that is missing, or shouldn't be, differs as a whole.
    """

    key: bytes
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A step that failed: its number from 1, where and as what it is written, and what is wrong."""

    step: int
    location: Location
    description: str
    problem: str
    documents: tuple[Odd, ...] = ()


def run_test(test: Test, collections: Mapping[str, Collection]) -> Mismatch | None:
    """Run a test on empty collections; return the step at which it failed, if it did.

    Raises ConfigError where a step uses a collection, or partitions, that can't be tested.
    """
    contents: dict[str, Contents] = {}
    for number, step in enumerate(test.steps, 1):
        collection = collections[step.collection]
        if collection.derive is not None:
            raise ConfigError(
                f"can't run test {test.name!r}: collection {collection.name!r} is derived, and "
                f"derivations don't run here yet"
            )
        if collection.name not in contents:
            contents[collection.name] = Contents(collection)
        held = contents[collection.name]
        try:
            if isinstance(step, Ingest):
                held.ingest(step.documents)
            elif failed := _verified(number, step, held):
                return failed
        except DataError as error:
            return Mismatch(number, step.location, step.description, error.message)
    return None


def _verified(number: int, step: Verify, held: Contents) -> Mismatch | None:
    found, expected = held.documents(step.partitions), step.documents
    if len(found) == len(expected) and not any(map(differences, expected, found)):
        return None
    odd = tuple(_odd(expected, found, held))
    problem = f"collection {step.collection!r} isn't as expected"
    if len(found) != len(expected):
        problem += f": it has {_counted(len(found))}, not {len(expected)}"
    elif not odd:
        problem = f"the documents of collection {step.collection!r} come in the order of their keys"
    return Mismatch(number, step.location, step.description, problem, odd)


def _counted(count: int) -> str:
    return "1 document" if count == 1 else f"{count} documents"


def _odd(expected: Sequence[bytes], found: Sequence[bytes], held: Contents) -> list[Odd]:
    """Pair documents by their keys, as people do, and return those that differ."""
    wanted = list(zip(held.keys(expected), expected, strict=True))
    there = dict(zip(held.keys(found), found, strict=True))
    odd = []
    for key, document in wanted:
        other = there.pop(key, None)
        differing = [Difference("", document, MISSING)]
        if other is not None:
            differing = differences(document, other)
        if differing:
            odd.append(Odd(key, tuple(differing)))
    unexpected = [Odd(key, (Difference("", MISSING, other),)) for key, other in there.items()]
    return [*odd, *unexpected]
