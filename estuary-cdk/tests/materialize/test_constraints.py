"""Constraints of fields, situation by situation."""

import pytest
from msgspec import Raw
from msgspec.structs import replace

from estuary_cdk.errors import ConfigError
from estuary_cdk.materialize import Column, Rules, Table
from estuary_cdk.materialize.constraints import Proposal, constraints
from estuary_cdk.protocol.flow import Inference, Projection
from estuary_cdk.protocol.materialize import FieldSelection, MaterializationBinding
from estuary_cdk.testing.memory_destination import RULES
from estuary_cdk.testing.selection import collection, optional, required

FIELDS = {"id": required("integer"), "name": optional("string"), "n": optional("integer")}
USERS = collection("acme/users", ["/id"], FIELDS)
COLUMNS = (
    Column("id", "integer", nullable=False),
    Column("name", "string", nullable=True),
    Column("n", "integer", nullable=True),
    Column("flow_document", "json", nullable=False),
)
USERS_TABLE = Table(("users",), COLUMNS)


def bound(keys=("id",), values=("n", "name"), document="flow_document", **more):
    """The binding as it was before."""
    return MaterializationBinding(
        resource_path=["users"],
        collection=more.pop("collection", USERS),
        field_selection=FieldSelection(keys=list(keys), values=list(values), document=document),
        **more,
    )


def kinds(spec=USERS, **more):
    """Constraint types by field, joined where there are several."""
    proposal = Proposal(
        **{
            "collection": spec,
            "path": ("users",),
            "delta_updates": False,
            "backfill": 0,
            "rules": RULES,
            "field_config": {},
            **more,
        }
    )
    found = {}
    for each in constraints(proposal):
        found.setdefault(each.field, []).append(each.constraint.type)
    return {field: " ".join(types) for field, types in found.items()}


def test_a_new_table_needs_key_and_document():
    assert kinds() == {
        "id": "LOCATION_REQUIRED",
        "name": "LOCATION_RECOMMENDED",
        "n": "LOCATION_RECOMMENDED",
        "flow_document": "LOCATION_REQUIRED",
        "_meta/op": "LOCATION_RECOMMENDED",
    }


def test_delta_updates_need_neither_key_nor_document():
    found = kinds(delta_updates=True)
    assert found["id"] == found["flow_document"] == "LOCATION_RECOMMENDED"


@pytest.mark.parametrize(
    ("inference", "expected"),
    [
        (optional("null"), "FIELD_FORBIDDEN"),
        (Inference(types=[], exists="CANNOT"), "FIELD_FORBIDDEN"),
        (optional("object"), "FIELD_OPTIONAL"),
        (optional("array"), "LOCATION_RECOMMENDED"),
        (optional("integer", "string"), "LOCATION_RECOMMENDED"),
        (optional("boolean", "null"), "LOCATION_RECOMMENDED"),
    ],
)
def test_types_decide_about_fields_that_nothing_forces(inference, expected):
    assert kinds(collection("c", ["/id"], {**FIELDS, "x": inference}))["x"] == expected


def test_only_the_operation_is_recommended_below_meta():
    spec = replace(
        USERS,
        projections=[
            *USERS.projections,
            Projection(ptr="/_meta/row_id", field="_meta/row_id", inference=optional("integer")),
        ],
    )
    assert kinds(spec)["_meta/row_id"] == "FIELD_OPTIONAL"


def test_a_table_that_is_ours_binds_key_and_document():
    assert kinds(existing=USERS_TABLE, last=bound()) == {
        "id": "FIELD_REQUIRED",
        "name": "FIELD_OPTIONAL",
        "n": "FIELD_OPTIONAL",
        "flow_document": "FIELD_REQUIRED",
        "_meta/op": "LOCATION_RECOMMENDED",
    }


def test_a_type_that_no_longer_fits_is_incompatible():
    spec = collection("c", ["/id"], {**FIELDS, "name": optional("integer")})
    assert kinds(spec, existing=USERS_TABLE, last=bound())["name"] == "INCOMPATIBLE"


def test_a_type_that_can_be_widened_is_not():
    spec = collection("c", ["/id"], {**FIELDS, "n": optional("number")})
    assert kinds(spec, existing=USERS_TABLE, last=bound())["n"] == "FIELD_OPTIONAL"


def test_a_key_of_another_type_is_required_and_incompatible_even_if_wider():
    spec = collection("c", ["/id"], {**FIELDS, "id": required("string")})
    found = kinds(spec, existing=USERS_TABLE, last=bound())["id"]
    assert found == "FIELD_REQUIRED INCOMPATIBLE"


def test_a_backfill_makes_the_table_new():
    spec = collection("c", ["/id"], {**FIELDS, "id": required("string")})
    found = kinds(spec, existing=USERS_TABLE, last=bound(), backfill=1)
    assert found["id"] == "LOCATION_REQUIRED"


def test_a_missing_table_is_new_whatever_was_bound():
    assert kinds(last=bound())["id"] == "LOCATION_REQUIRED"


def test_a_document_column_that_is_gone_is_incompatible():
    table = Table(("users",), COLUMNS[:3])
    found = kinds(existing=table, last=bound())["flow_document"]
    assert found == "LOCATION_REQUIRED INCOMPATIBLE"


def with_second_root():
    second = Projection(ptr="", field="all", inference=required("object"))
    return replace(USERS, projections=[second, *USERS.projections])


def test_only_one_root_document_is_stored():
    found = kinds(with_second_root())
    assert (found["all"], found["flow_document"]) == ("LOCATION_REQUIRED", "FIELD_FORBIDDEN")


def test_the_root_document_is_the_one_the_user_requires():
    found = kinds(with_second_root(), field_config={"flow_document": Raw(b"{}")})
    assert (found["all"], found["flow_document"]) == ("FIELD_FORBIDDEN", "LOCATION_REQUIRED")


def test_the_root_document_is_the_one_that_is_there():
    found = kinds(with_second_root(), existing=USERS_TABLE, last=bound())
    assert (found["all"], found["flow_document"]) == ("FIELD_FORBIDDEN", "FIELD_REQUIRED")


def test_a_field_cant_join_the_key_of_a_table():
    spec = collection("c", ["/id", "/k"], {**FIELDS, "k": required("integer")})
    found = kinds(spec, existing=USERS_TABLE, last=bound())
    assert (found["id"], found["k"]) == ("FIELD_REQUIRED", "FIELD_FORBIDDEN")


def test_a_field_cant_leave_the_key_of_a_table():
    spec = collection("c", ["/n"], {**FIELDS, "n": required("integer")})
    found = kinds(spec, existing=USERS_TABLE, last=bound())
    assert (found["id"], found["n"]) == ("INCOMPATIBLE", "FIELD_FORBIDDEN")


def test_a_chosen_key_takes_the_place_of_the_collections():
    spec = collection("c", ["/id"], {**FIELDS, "k": required("integer")})
    found = kinds(spec, group_by=["k"])
    assert (found["k"], found["id"]) == ("LOCATION_REQUIRED", "LOCATION_RECOMMENDED")


def test_a_key_that_may_be_null_is_refused():
    spec = collection("c", ["/id"], {**FIELDS, "id": optional("integer")})
    with pytest.raises(ConfigError, match="key field 'id' may be null"):
        kinds(spec)


def test_a_default_makes_up_for_a_key_that_may_be_missing():
    inference = Inference(types=["integer"], exists="MAY", default=Raw(b"0"))
    assert kinds(collection("c", ["/id"], {**FIELDS, "id": inference}))["id"] == "LOCATION_REQUIRED"


def test_delta_updates_dont_become_standard_updates():
    last = bound(delta_updates=True)
    with pytest.raises(ConfigError, match="from delta updates to standard"):
        kinds(existing=USERS_TABLE, last=last)
    assert kinds(existing=USERS_TABLE, last=last, backfill=1)


def test_standard_updates_may_become_delta_updates():
    assert kinds(existing=USERS_TABLE, last=bound(), delta_updates=True)["id"] == "FIELD_OPTIONAL"


def test_a_table_of_someone_else_is_refused_unless_adopted():
    with pytest.raises(ConfigError, match="exists already"):
        kinds(existing=USERS_TABLE)
    found = kinds(existing=USERS_TABLE, adopt_existing=True)
    assert (found["id"], found["flow_document"]) == ("LOCATION_REQUIRED", "FIELD_REQUIRED")


def rules(**more):
    return Rules(column_type=RULES.column_type, fit=RULES.fit, **more)


def test_a_name_that_is_too_long_is_forbidden():
    spec = collection("c", ["/id"], {**FIELDS, "much_longer": optional("string")})
    short = rules(name_length_max=5, folded=lambda name: "doc" if "_" in name[:5] else name)
    assert kinds(spec, rules=rules(name_length_max=13))["much_longer"] == "LOCATION_RECOMMENDED"
    assert kinds(spec, rules=short)["much_longer"] == "FIELD_FORBIDDEN"


def test_a_key_whose_only_name_is_too_long_is_refused():
    spec = collection("c", ["/identifier"], {"identifier": required("integer")})
    with pytest.raises(ConfigError, match=r"'identifier' is longer than 3.*project"):
        kinds(spec, rules=rules(name_length_max=3, folded=lambda n: n[-3:] if "_" in n else n))


def test_a_key_may_go_by_a_shorter_name():
    spec = collection("c", ["/identifier"], {"identifier": required("integer")})
    short = Projection(ptr="/identifier", field="id", inference=required("integer"))
    spec = replace(spec, projections=[*spec.projections, short])
    found = kinds(spec, rules=rules(name_length_max=3, folded=lambda n: n[-3:] if "_" in n else n))
    assert (found["identifier"], found["id"]) == ("FIELD_FORBIDDEN", "LOCATION_REQUIRED")


def test_a_name_that_reads_like_the_keys_is_forbidden():
    spec = collection("c", ["/id"], {**FIELDS, "ID": optional("string")})
    assert kinds(spec)["ID"] == "LOCATION_RECOMMENDED"
    assert kinds(spec, rules=rules(case_insensitive=True))["ID"] == "FIELD_FORBIDDEN"


def test_keys_that_read_alike_are_refused():
    spec = collection("c", ["/id", "/ID"], {**FIELDS, "ID": required("string")})
    with pytest.raises(ConfigError, match="can't tell apart"):
        kinds(spec, rules=rules(case_insensitive=True))


def test_the_name_a_field_will_have_is_told():
    proposal = Proposal(
        collection=USERS,
        path=("users",),
        delta_updates=False,
        backfill=0,
        rules=rules(folded=str.upper),
        field_config={},
    )
    folded = {each.field: each.constraint.folded_field for each in constraints(proposal)}
    assert folded["name"] == "NAME"


def test_a_reason_names_field_and_both_types():
    spec = collection("c", ["/id"], {**FIELDS, "name": optional("integer")})
    proposal = Proposal(
        collection=spec,
        path=("users",),
        delta_updates=False,
        backfill=0,
        rules=RULES,
        field_config={},
        existing=USERS_TABLE,
        last=bound(),
    )
    [reason] = [
        each.constraint.reason
        for each in constraints(proposal)
        if each.constraint.type == "INCOMPATIBLE"
    ]
    assert reason == (
        "Field 'name' is already being materialized as endpoint type 'string' but endpoint type "
        "'integer' is required by its schema '{ type: [integer] }'"
    )


def test_where_documents_are_made_of_columns_every_property_is_needed_and_the_root_isnt():
    fields = {**FIELDS, "o": optional("object")}
    spec = collection("acme/users", ["/id"], fields)
    found = kinds(spec, rebuilds=True)
    parts = {name: kind for name, kind in found.items() if name in fields}
    assert set(parts.values()) == {"LOCATION_REQUIRED"}
    assert found["flow_document"] == "FIELD_OPTIONAL"
    assert kinds(spec, rebuilds=True, delta_updates=True)["o"] == "FIELD_OPTIONAL"
