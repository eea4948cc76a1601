"""A transaction's documents by key, reduced, spelt as stores: in this process or in one apart."""

from flow_local.gathering.documents import ALL_KEYS
from flow_local.gathering.gatherer import Gatherer
from flow_local.gathering.transaction import Gathering, Held

__all__ = ["ALL_KEYS", "Gatherer", "Gathering", "Held"]
