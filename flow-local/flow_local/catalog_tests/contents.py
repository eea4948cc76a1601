"""What a collection holds in a test: all that was ingested, reduced by key.

An ingestion is one transaction: its documents are checked, then combined by key. To verify, all
transactions are fully reduced, in the order of their keys; what is deleted isn't there.
"""

from collections.abc import Sequence

from estuary_cdk.errors import ConfigError, DataError
from flow_local.catalog import Collection, PartitionSelector
from flow_local.collections import Combiner, Selection, identities
from flow_local.schema.bundles import read_schema
from flow_local.schema.extraction import Extractor
from flow_local.schema.reductions import Reducer
from flow_local.schema.validation import Validator


class Contents:
    """The documents of one collection, from the beginning of a test on."""

    def __init__(self, collection: Collection) -> None:
        readable = read_schema(collection.read_schema, collection.write_schema, None)
        self._collection = collection
        self._keys = Extractor(collection.key)
        self._validator = Validator(collection.write_schema)
        self._combiner = Combiner(collection.key, Reducer(collection.write_schema))
        self._reducer = Reducer(readable)
        self._documents: list[bytes] = []

    def ingest(self, documents: Sequence[bytes]) -> None:
        """Add one transaction; raises DataError for a document that its schema doesn't allow."""
        if failure := self._validator.first_failure(documents):
            raise DataError(
                f"can't ingest document {failure.index + 1} into collection "
                f"{self._collection.name!r}: at {failure.pointer or 'the root'}: {failure.reason}"
            )
        self._documents += self._combiner.combined(documents)

    def keys(self, documents: Sequence[bytes]) -> list[bytes]:
        """Return the keys of documents, each as an array."""
        return [b"[%b]" % b",".join(row) for row in self._keys.rows(documents)]

    def documents(self, selector: PartitionSelector | None) -> list[bytes]:
        """Return the reduced documents of the partitions that are meant, ordered by key."""
        chosen = _selected(self._documents, self._collection, selector)
        by_key: dict[bytes, list[bytes]] = {}
        for key, document in zip(identities(self._keys.rows(chosen)), chosen, strict=True):
            by_key.setdefault(key, []).append(document)
        reduced = [self._reducer.reduced(None, by_key[key]) for key in sorted(by_key)]
        return [each.document for each in reduced if not each.deleted]


def _selected(
    documents: Sequence[bytes], collection: Collection, selector: PartitionSelector | None
) -> Sequence[bytes]:
    if selector is None:
        return documents
    pointers = {each.field: each.pointer for each in collection.projections}
    for field in (*selector.include, *selector.exclude):
        if field not in pointers:
            known = ", ".join(map(repr, pointers)) or "none"
            raise ConfigError(
                f"can't select documents by {field!r}: the collection's fields are {known}"
            )
    return Selection(
        {pointers[field]: values for field, values in selector.include.items()},
        {pointers[field]: values for field, values in selector.exclude.items()},
    ).chosen(documents)
