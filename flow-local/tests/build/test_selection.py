"""Field selection, rule by rule, and what holds whatever the inputs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.protocol.flow import Inference, Projection
from estuary_cdk.protocol.materialize import Constraint, FieldSelection
from flow_local.build.reasons import Reject, Select
from flow_local.build.selection import Choices, Inputs, Outcome, Selection, select
from flow_local.build.state_keys import state_key

OPTIONAL = "FIELD_OPTIONAL"


def projection(field: str, types: str = "string", ptr: str | None = None, **more) -> Projection:
    pointer = "/" + field if ptr is None else ptr
    return Projection(field=field, ptr=pointer, inference=Inference(types=types.split()), **more)


ROOT = projection("flow_document", "object", "")
PUBLISHED = projection("flow_published_at", ptr="/_meta/uuid")
OP = projection("_meta/op")
TRUNCATED = projection("_meta/flow_truncated", "boolean")
ID = projection("id", "integer", is_primary_key=True)
NAME = projection("name")
ADDRESS = projection("address", "object")
CITY = projection("address/city")
EMPTY = projection("extra", "object")
TAGS = projection("tags", "array")
MIXED = projection("mixed", "object string")
ALL = [OP, TRUNCATED, ADDRESS, CITY, EMPTY, ROOT, PUBLISHED, ID, MIXED, NAME, TAGS]


def inputs(projections=ALL, live=None, fold=False, constraints=None, **choices) -> Inputs:
    told = {p.field: [Constraint(type=OPTIONAL)] for p in projections}
    told["flow_document"] = [Constraint(type="LOCATION_REQUIRED", reason="root")]
    told["id"] = [Constraint(type="LOCATION_REQUIRED", reason="key")]
    for field, constraint in (constraints or {}).items():
        told[field] = constraint if isinstance(constraint, list) else [constraint]
    return Inputs(
        projections=projections,
        key=["/id"],
        constraints=told,
        choices=Choices(**choices),
        live=live,
        case_insensitive=fold,
    )


def values(selection: Selection) -> list[str]:
    return selection.fields.values


def verdict(selection: Selection, field: str):
    return next(v for v in selection.verdicts if v.field == field)


SCALARS = ["_meta/op", "address/city", "flow_published_at", "mixed", "name", "tags"]


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        # True: every leaf at any depth, never a pure object, of _meta only op.
        (None, SCALARS),
        # At 1 a top-level object is chosen whole, and what is inside it isn't.
        (1, ["_meta/op", "address", "extra", "flow_published_at", "mixed", "name", "tags"]),
        # Above the desired depth a pure object is chosen only if nothing below is projected.
        (2, ["_meta/op", "address/city", "extra", "flow_published_at", "mixed", "name", "tags"]),
        (0, []),
    ],
)
def test_recommended_fields_by_depth(depth, expected) -> None:
    selection = select(inputs(recommended_depth=depth))
    assert values(selection) == expected
    assert selection.fields.keys == ["id"]
    assert selection.fields.document == "flow_document"
    assert not selection.conflicts


def test_excluded_fields_and_what_is_below_them_are_left_out() -> None:
    selection = select(inputs(exclude=["address", "name"]))
    assert values(selection) == ["_meta/op", "flow_published_at", "mixed", "tags"]
    assert verdict(selection, "address/city").reject is Reject.EXCLUDED_PARENT


def test_a_required_field_is_selected_with_its_config() -> None:
    selection = select(inputs(require={"extra": b'{"a":1.0}'}, recommended_depth=0))
    assert values(selection) == ["extra"]
    assert bytes(selection.fields.field_config["extra"]) == b'{"a":1.0}'


def test_a_required_field_that_does_not_exist_is_a_conflict() -> None:
    selection = select(inputs(require={"nope": b"{}"}))
    [conflict] = selection.conflicts
    assert conflict.field == "nope"
    assert conflict.reason == "required by the catalog, but the collection has no such field"


def test_requiring_and_excluding_a_field_is_a_conflict() -> None:
    [conflict] = select(inputs(require={"name": b"{}"}, exclude=["name"])).conflicts
    assert conflict.reason == "required by the catalog, but excluded by the catalog"


def test_excluding_a_key_is_a_conflict() -> None:
    [conflict] = select(inputs(exclude=["id"])).conflicts
    assert (conflict.field, conflict.select) == ("id", Select.GROUP_BY_KEY)


def test_a_forbidden_field_is_left_out_in_silence_unless_someone_needs_it() -> None:
    forbidden = Constraint(type="FIELD_FORBIDDEN", reason="too long")
    selection = select(inputs(constraints={"name": forbidden}))
    assert "name" not in values(selection)
    assert not selection.conflicts
    assert verdict(selection, "name").reason == "the connector can't materialize it: too long"
    selection = select(inputs(constraints={"name": forbidden}, require={"name": b"{}"}))
    assert [v.field for v in selection.conflicts] == ["name"]


def test_a_field_the_connector_does_not_mention_is_forbidden() -> None:
    selection = select(inputs(constraints={"name": []}))
    assert verdict(selection, "name").reject is Reject.CONNECTOR_OMITS
    assert "name" not in values(selection)


def test_the_key_is_in_the_order_of_group_by() -> None:
    selection = select(inputs(group_by=["name", "id"]))
    assert selection.fields.keys == ["name", "id"]
    assert "name" not in values(selection)


def test_a_key_that_is_not_scalar_or_not_there_is_a_conflict() -> None:
    assert [v.field for v in select(inputs(group_by=["tags"])).conflicts] == ["tags"]
    assert [v.field for v in select(inputs(group_by=["nope"])).conflicts] == ["nope"]


def test_a_field_of_the_same_location_gives_way_to_the_stronger() -> None:
    alias = projection("title", ptr="/name", explicit=True)
    selection = select(inputs([*ALL, alias]))
    assert "title" in values(selection)
    assert verdict(selection, "name").reject is Reject.DUPLICATE_LOCATION


def test_a_required_location_is_served_by_any_of_its_fields() -> None:
    alias = projection("number", "integer", ptr="/id")
    needed = Constraint(type="LOCATION_REQUIRED")
    selection = select(inputs([*ALL, alias], constraints={"number": needed}))
    assert "number" not in values(selection)
    assert not selection.conflicts


def test_an_excluded_field_is_no_conflict_where_its_location_is_served() -> None:
    other = projection("another", "object", ptr="", explicit=True)
    needed = Constraint(type="LOCATION_REQUIRED")
    selection = select(
        inputs([*ALL, other], exclude=["flow_document"], constraints={"another": needed})
    )
    assert selection.fields.document == "another"
    assert not selection.conflicts


def test_names_that_fold_together_are_taken_once() -> None:
    upper, folded = projection("NAME"), [Constraint(type=OPTIONAL, folded_field="n")]
    assert {"name", "NAME"} <= set(values(select(inputs([*ALL, upper]))))
    selection = select(inputs([*ALL, upper], fold=True))
    assert {"name", "NAME"} & set(values(selection)) == {"NAME"}
    selection = select(inputs(constraints={"name": folded, "tags": folded}))
    assert {"name", "tags"} & set(values(selection)) == {"name"}
    assert verdict(selection, "tags").reject is Reject.DUPLICATE_FOLD


LIVE = FieldSelection(keys=["id"], values=["extra", "gone"], document="flow_document")


def test_what_is_materialized_stays_selected() -> None:
    selection = select(inputs(live=LIVE, recommended_depth=0))
    assert values(selection) == ["extra"]
    assert verdict(selection, "extra").select is Select.CURRENT_VALUE


def test_an_incompatible_field_counts_as_selected_and_presumes_a_backfill() -> None:
    clash = Constraint(type="INCOMPATIBLE", reason="bigint, needs text")
    selection = select(inputs(live=LIVE, constraints={"name": clash}))
    assert [v.field for v in selection.incompatible] == ["name"]
    assert "name" in values(selection)
    assert not selection.conflicts


def test_nothing_is_incompatible_with_a_table_that_is_not_there() -> None:
    clash = Constraint(type="INCOMPATIBLE", reason="bigint, needs text")
    assert not select(inputs(constraints={"name": clash})).incompatible


def test_a_required_and_incompatible_key_is_incompatible() -> None:
    both = [Constraint(type="LOCATION_REQUIRED"), Constraint(type="INCOMPATIBLE", reason="text")]
    selection = select(inputs(live=LIVE, constraints={"id": both}))
    assert [v.field for v in selection.incompatible] == ["id"]
    assert not selection.conflicts


def test_partition_keys_are_selected_whatever_is_recommended() -> None:
    part = projection("part", is_partition_key=True)
    assert values(select(inputs([*ALL, part], recommended_depth=0))) == ["part"]


TYPES = ["FIELD_REQUIRED", "LOCATION_REQUIRED", OPTIONAL, "FIELD_FORBIDDEN", "INCOMPATIBLE"]
fields = st.sampled_from([p.field for p in ALL])


@given(
    st.dictionaries(fields, st.lists(st.sampled_from(TYPES), max_size=2)),
    st.sets(fields, max_size=3),
    st.sets(fields, max_size=3),
    st.sampled_from([None, 0, 1, 2]),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_asked_the_selection_is_sound(
    told, require, exclude, depth, live, fold
) -> None:
    given_inputs = inputs(
        live=LIVE if live else None,
        fold=fold,
        constraints={f: [Constraint(type=t) for t in types] for f, types in told.items()},
        require=dict.fromkeys(require, b"{}"),
        exclude=sorted(exclude),
        recommended_depth=depth,
    )
    selection = select(given_inputs)
    chosen = [*selection.fields.keys, *values(selection)]
    chosen += [selection.fields.document] if selection.fields.document else []
    assert len(set(chosen)) == len(chosen)
    assert {v.field for v in selection.verdicts} >= {p.field for p in ALL}
    for v in selection.verdicts:
        if v.outcome is Outcome.SELECTED:
            assert v.field in chosen or v.projection.ptr == ""
            assert v.field not in exclude
            types = [c.type for c in given_inputs.constraints.get(v.field, ())]
            assert types
            assert "FIELD_FORBIDDEN" not in types
            assert not ("INCOMPATIBLE" in types and live)
        if v.field in require:
            assert v.outcome is not Outcome.REJECTED
        assert v.reason
    if not selection.conflicts:
        assert set(require) <= set(chosen)
    assert select(given_inputs) == selection


@pytest.mark.parametrize(
    ("path", "backfill", "key"),
    [
        (["greetings"], 0, "greetings"),
        (["test", "foobar"], 0, "test%2Ffoobar"),
        (["public", "foo bar"], 2, "public%2Ffoo%20bar.v2"),
        (["a-b_c+d.e=f", "é€😀"], 0, "a-b_c+d.e=f%2Fé%E2%82%AC%F0%9F%98%80"),
    ],
)
def test_state_keys(path, backfill, key) -> None:
    assert state_key(path, backfill) == key
