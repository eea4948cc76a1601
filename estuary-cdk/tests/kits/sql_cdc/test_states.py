"""How a table's backfill goes follows from its key, its binding and the collection's key."""

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc.resources import TableResource
from estuary_cdk.kits.sql_cdc.schemas import FALLBACK_KEY, collection_key, recommended_name
from estuary_cdk.kits.sql_cdc.states import TableState, activated
from estuary_cdk.kits.sql_cdc.tables import Column, Table


def table(*, sortable=("id", "name"), predictable=("id",)) -> Table:
    return Table(
        id=("Public", "Order Items"),
        columns=(
            Column("id", "integer", {"type": "integer"}, nullable=False),
            Column("name", "text", {"type": "string"}, nullable=False),
            Column("note", "text", {"type": "string"}),
        ),
        key=("id",),
        sortable=frozenset(sortable),
        predictable=frozenset(predictable),
    )


def mode_of(mode: str, key, **changes) -> str:
    resource = TableResource(namespace="Public", stream="Order Items", mode=mode, **changes)
    return activated(resource, table(), key).mode


def test_the_mode_is_chosen_by_the_key():
    assert mode_of("", ["/id"]) == "Backfill"
    assert mode_of("", ["/name"]) == "UnfilteredBackfill"
    assert mode_of("", ["/note"]) == "KeylessBackfill"
    assert mode_of("", FALLBACK_KEY) == "KeylessBackfill"


def test_a_chosen_mode_is_kept():
    assert mode_of("Normal", ["/id"]) == "UnfilteredBackfill"
    assert mode_of("Precise", ["/name"]) == "Backfill"
    assert mode_of("Only Changes", ["/id"]) == "Active"
    assert mode_of("Without Primary Key", ["/id"]) == "KeylessBackfill"


def test_a_filter_goes_with_any_mode_but_precise():
    filtered = {"advanced": {"additional_backfill_filter": "id > 5"}}
    assert mode_of("", ["/id"], **filtered) == "UnfilteredBackfill"
    with pytest.raises(ConfigError, match="cannot be used in the 'Precise'"):
        mode_of("Precise", ["/id"], **filtered)


def test_modes_that_need_a_key_are_refused_without():
    with pytest.raises(ConfigError, match="by key"):
        mode_of("Normal", FALLBACK_KEY)
    with pytest.raises(ConfigError, match="'Precise'"):
        mode_of("Precise", FALLBACK_KEY)


def test_a_state_advances_and_ends():
    state = TableState(mode="Backfill", key_columns=("id",))
    half = state.advanced(b"\x15\x05", 5, done=False)
    assert (half.position, half.backfilled, half.backfilling) == (b"\x15\x05", 5, True)
    whole = half.advanced(b"\x15\x07", 2, done=True)
    assert (whole.position, whole.backfilled, whole.mode) == (None, 7, "Active")


def test_collections_are_named_and_keyed_by_their_tables():
    assert recommended_name(table()) == "public/order_items"
    assert collection_key(table()) == ("/id",)
