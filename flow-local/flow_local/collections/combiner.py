"""Documents of equal key combined before they are published, as their schema's reductions say."""

from collections.abc import Sequence

from flow_local.collections.batches import Batch
from flow_local.collections.identities import identities_of_columns
from flow_local.schema.extraction import Extractor
from flow_local.schema.reductions import Reducer


class Combiner:
    """Combines documents of one binding, each of which must be one JSON value.

    A key's documents are replaced by as few as can stand for them; keys keep the order in which
    they came first, and a key's documents theirs.
    """

    def __init__(self, key: Sequence[str], reducer: Reducer) -> None:
        self._extractor = Extractor(key)
        self._reducer = reducer

    def combined(self, documents: Sequence[bytes]) -> Sequence[bytes]:
        """Return documents that do to a reader what the given ones would."""
        columns = self._extractor.columns(documents)
        # The last part of a key tells most; where it tells all apart, the others aren't looked at.
        if any(len(set(map(bytes, each))) == len(documents) for each in reversed(columns)):
            return documents
        groups: dict[bytes, list[bytes]] = {}
        for key, document in zip(identities_of_columns(columns), documents, strict=True):
            groups.setdefault(key, []).append(document)
        combined: list[bytes] = []
        for group in groups.values():
            combined += group if len(group) == 1 else self._reducer.combined(group)
        return combined

    def combined_batches(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return batches that do to a reader what the given ones would, all taken together."""
        if _tell_apart(batches):
            return batches
        documents = [each for batch in batches for each in batch.documents()]
        combined = self.combined(documents)
        if combined is documents:
            return batches
        return [Batch(combined, sum(map(len, combined)))]


def _tell_apart(batches: Sequence[Batch]) -> bool:
    """Tell whether the known parts of keys already show that no two keys are equal."""
    seen: set[object] = set()
    for batch in batches:
        if batch.parts is None:
            return False
        seen.update(batch.parts)
    return len(seen) == sum(map(len, batches))
