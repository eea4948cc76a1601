"""Collections on disk: append-only journals of documents, each with a UUID."""

from flow_local.collections.batches import Batch, are_plain
from flow_local.collections.combiner import Combiner
from flow_local.collections.files import DiskFiles, Files, StorageError
from flow_local.collections.identities import identified, identities, identity, packed_of
from flow_local.collections.journal import Journal, JournalReader
from flow_local.collections.selecting import Selection
from flow_local.collections.store import Collections
from flow_local.collections.uuids import Published, Stamper, producer_id, published_s

__all__ = [
    "Batch",
    "Collections",
    "Combiner",
    "DiskFiles",
    "Files",
    "Journal",
    "JournalReader",
    "Published",
    "Selection",
    "Stamper",
    "StorageError",
    "are_plain",
    "identified",
    "identities",
    "identity",
    "packed_of",
    "producer_id",
    "published_s",
]
