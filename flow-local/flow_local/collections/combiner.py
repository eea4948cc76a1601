"""Documents of equal key combined before they are published, as their schema's reductions say."""

from collections.abc import Sequence

from estuary_cdk.protocol import packed
from flow_local.schema.extraction import Extractor, Row
from flow_local.schema.reductions import Reducer

_LONGEST_PACKED_INTEGER = 20


def identity(key: Row) -> bytes:
    """Return bytes that are equal for equal keys, however spelt, and sort as keys do.

    They start with the packed key, and are nothing else unless the key has an integer too long to
    be packed without loss.
    """
    code = packed.pack_json(key)
    if any(len(item) >= _LONGEST_PACKED_INTEGER and item[:1] not in b'"{[' for item in key):
        return code + b"\xff" + b",".join(key)
    return code


class Combiner:
    """Combines documents of one binding.

    A key's documents are replaced by as few as can stand for them; keys keep the order in which
    they came first, and a key's documents theirs.
    """

    def __init__(self, key: Sequence[str], reducer: Reducer) -> None:
        self._extractor = Extractor(key)
        self._reducer = reducer

    def combined(self, documents: Sequence[bytes]) -> Sequence[bytes]:
        """Return documents that do to a reader what the given ones would."""
        keys = self._extractor.rows(documents)
        if len(set(keys)) == len(documents):
            return documents
        groups: dict[bytes, list[bytes]] = {}
        for key, document in zip(keys, documents, strict=True):
            groups.setdefault(identity(key), []).append(document)
        combined: list[bytes] = []
        for group in groups.values():
            combined += group if len(group) == 1 else self._reducer.combined(group)
        return combined
