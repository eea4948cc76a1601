"""Parts of a batch: some rows in a row, or the rows that are wanted."""

from collections.abc import Iterator, Sequence
from itertools import compress

from estuary_cdk.materialize.patterns import Stores


def chunks(batch: Stores, rows_max: int) -> Iterator[Stores]:
    """Cut a batch into batches of at most so many rows."""
    if len(batch) <= rows_max:
        yield batch
        return
    for start in range(0, len(batch), rows_max):
        end = start + rows_max
        yield Stores(
            batch.binding,
            batch.keys[start:end],
            batch.values[start:end],
            None if batch.documents is None else batch.documents[start:end],
            batch.exists[start:end],
            batch.deletes[start:end],
        )


def selected(batch: Stores, wanted: Sequence[bool]) -> Stores:
    """Return the documents of a batch that are wanted."""
    return Stores(
        batch.binding,
        list(compress(batch.keys, wanted)),
        list(compress(batch.values, wanted)),
        None if batch.documents is None else list(compress(batch.documents, wanted)),
        list(compress(batch.exists, wanted)),
        list(compress(batch.deletes, wanted)),
    )
