"""Documents of equal key reduced to one, by the `reduce` annotations of their schema.

A reduction takes an older and a newer document. It is *full* where the older one is the complete
stored document, or it is known that there is none; then deletes are carried out. Otherwise it is
*partial*: it combines two updates into one that does what both would have done, in this order.
"""

from collections.abc import Sequence

import msgspec

from flow_local.schema.annotations import Annotations
from flow_local.schema.dialect import parsed
from flow_local.schema.strategies import Apart, reduced


class Reduced(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a reduction.

    `deleted` (only after full reductions) says that the document is to be removed from where it is
    stored; `document` is then the merged tombstone.
    """

    document: bytes
    deleted: bool


class Reducer:
    """Reduces documents of one schema. Documents must be valid under it.

    Raises ConfigError for a bad schema or annotation, and on first use where two different
    annotations govern one location.
    """

    def __init__(self, schema: bytes) -> None:
        self._root = Annotations(parsed(schema)).root
        alternatives = self._root.alternatives
        self._last_write_wins = all(
            each.strategy == "lastWriteWins" and each.associative for each in alternatives
        )
        self._deletes = any(each.delete for each in alternatives)
        self._delete_marks = self._root.delete_marks() if self._deletes else None

    @property
    def last_write_wins(self) -> bool:
        """Whether the newest document always replaces the older ones, so that none need be read."""
        return self._last_write_wins

    @property
    def deletes(self) -> bool:
        """Whether a document may be a tombstone."""
        return self._deletes

    def reduce(self, older: bytes | None, newer: bytes, *, full: bool) -> Reduced | None:
        """Return the reduced document, or None where two updates must be kept apart.

        None comes from partial reductions only. What the annotations leave alone keeps its exact
        bytes. Raises DataError where a value doesn't fit its strategy (say, a sum of texts).
        """
        if self._last_write_wins:
            return Reduced(newer, full and self._deletes and self.is_tombstone(newer))
        try:
            document, deleted = reduced(self._root, older, newer, full=full)
        except Apart:
            return None
        return Reduced(document, deleted)

    def is_tombstone(self, document: bytes) -> bool:
        """Tell whether a full reduction with this newer document deletes."""
        return self._deletes and self._root.settled(document).annotation.delete

    @property
    def delete_pointers(self) -> Sequence[str]:
        """Where `tombstones` can tell by values alone that no document is one; mostly empty."""
        return list(self._delete_marks or ())

    def tombstones(
        self, documents: Sequence[bytes], values: Sequence[Sequence[bytes | msgspec.Raw]] = ()
    ) -> list[int]:
        """Return the places of the documents that `is_tombstone` is true of.

        It is quicker with their values at each of `delete_pointers`.
        """
        if not self._deletes:
            return []
        marks = self._delete_marks
        if marks is None:
            return [n for n, document in enumerate(documents) if self.is_tombstone(document)]
        # Nearly every batch has none, and a search in all its text is quicker than any look inside.
        columns = values or [documents] * len(marks)
        if not any(map(_has_any, columns, marks.values())):
            return []
        texts = frozenset().union(*marks.values()) | {b"\\"}
        return [
            n
            for n, document in enumerate(documents)
            if any(text in document for text in texts) and self.is_tombstone(document)
        ]

    def combined(self, documents: Sequence[bytes]) -> list[bytes]:
        """Combine updates of one key, oldest first, into as few as can stand for them, in order."""
        if self._last_write_wins or len(documents) <= 1:
            return list(documents[-1:])
        result = [documents[0]]
        for document in documents[1:]:
            both = self.reduce(result[-1], document, full=False)
            if both is None:
                result.append(document)
            else:
                result[-1] = both.document
        return result

    def reduced(self, stored: bytes | None, documents: Sequence[bytes]) -> Reduced:
        """Apply updates of one key, oldest first (at least one), to the stored document or none.

        A tombstone among them makes the next update start from nothing.
        """
        if self._last_write_wins:
            newest = documents[-1]
            return Reduced(newest, self.is_tombstone(newest))
        deleted = False
        for document in documents:
            stored, deleted = reduced(self._root, None if deleted else stored, document, full=True)
        assert stored is not None, "at least one document is given"
        return Reduced(stored, deleted)


def _has_any(values: Sequence[bytes | msgspec.Raw], texts: frozenset[bytes]) -> bool:
    whole = b"".join(values)
    return b"\\" in whole or any(text in whole for text in texts)
