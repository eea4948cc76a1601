"""Reductions: every strategy, conditions, deletes, and the laws that combining relies on."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, DataError
from flow_local.schema.extraction import Extractor
from flow_local.schema.reductions import Reducer


def reducer(schema):
    return Reducer(msgspec.json.encode(schema))


def of(strategy, **options):
    """Return a reducer of documents that merge, whose `/v` has the strategy."""
    annotated = {"reduce": {"strategy": strategy, **options}}
    return reducer({"properties": {"v": annotated}, "reduce": {"strategy": "merge"}})


def value(strategy, older, newer, *, full=True, **options):
    document = of(strategy, **options).reduce(
        None if older is None else b'{"v":%s}' % older, b'{"v":%s}' % newer, full=full
    )
    return document and document.document[5:-1]


OP = {"properties": {"_meta": {"properties": {"op": {"const": "d"}}, "required": ["op"]}}}
OP["required"] = ["_meta"]
MERGE = {"strategy": "merge"}
MERGE_DELETE = {"strategy": "merge", "delete": True}
LAST_DELETE = {"strategy": "lastWriteWins", "delete": True}
G = "x-collection-generation-id"
TOMBSTONE = b'{"_meta":{"op":"d"}}'


@pytest.mark.parametrize(
    ("strategy", "older", "newer", "result"),
    [
        ("firstWriteWins", b"1.0", b"2", b"1.0"),
        ("firstWriteWins", None, b"2", b"2"),
        ("lastWriteWins", b"1", b"2e3", b"2e3"),
        ("minimize", b"1", b"2", b"1"),
        ("minimize", b"1", b"1.0", b"1.0"),
        ("minimize", None, b"1.0", b"1.0"),
        ("minimize", b"1000000000000000000000000000001", b"1e30", b"1e30"),
        ("maximize", b"%d" % (10**30 + 1), b"1e30", b"%d" % (10**30 + 1)),
        ("maximize", b'"a"', b"5", b'"a"'),
        ("maximize", b"null", b"false", b"false"),
        ("maximize", b"[1,2]", b"[1,10]", b"[1,10]"),
        ("maximize", b'{"a":1}', b'{"b":0}', b'{"b":0}'),
        ("sum", b"1", b"2", b"3"),
        ("sum", None, b"1.0", b"1.0"),
        ("sum", b"18446744073709551614", b"1", b"18446744073709551615"),
        ("sum", b"1", b"0.5", b"1.5"),
        ("sum", b"-5", b"5.0", b"0.0"),
        ("sum", b'"0.1"', b'"0.2"', b'"0.3"'),
        ("sum", b'"1%s"' % (b"0" * 40), b'"0.01"', b'"1%s.01"' % (b"0" * 40)),
        ("append", b"[1.0]", b'[ 2 ,"x"]', b'[1.0,2,"x"]'),
        ("append", b"null", b"[2]", b"null"),
        ("append", None, b"[2]", b"[2]"),
        ("merge", b"[1,2,3]", b"[4]", b"[4,2,3]"),
        ("merge", b'{"a":1.0,"b":1}', b'{"b":2,"c":1e3}', b'{"a":1.0,"b":2,"c":1e3}'),
        ("merge", b"5", b'{"b":2}', b'{"b":2}'),
        ("set", b'{"add":["b","c"]}', b'{"remove":["c"],"add":["a"]}', b'{"add":["a","b"]}'),
        ("set", b'{"add":{"a":1,"b":2}}', b'{"intersect":{"b":0}}', b'{"add":{"b":2}}'),
        ("set", None, b'{"remove":["c"],"add":["a"]}', b'{"add":["a"]}'),
        ("set", b'{"add":[1]}', b'{"add":[1.0]}', b'{"add":[1.0]}'),
    ],
)  # fmt: skip
def test_a_full_reduction_follows_its_strategy(strategy, older, newer, result):
    assert value(strategy, older, newer) == result


@pytest.mark.parametrize(
    ("strategy", "older", "newer"),
    [
        ("sum", b"18446744073709551615", b"1"),
        ("sum", b"1", b'"1"'),
        ("sum", b'"x"', b'"1"'),
        ("sum", b"true", b"1"),
        ("sum", b'"1e100000"', b'"1"'),
        ("append", b"5", b"[1]"),
        ("append", b"[1]", b"5"),
        ("merge", b"{}", b"5"),
        ("set", b"{}", b"[1]"),
        ("set", b"{}", b'{"remove":[1],"intersect":[1]}'),
        ("set", b'{"add":[1]}', b'{"add":{"a":1}}'),
    ],
)
def test_a_value_that_does_not_fit_its_strategy_is_an_error(strategy, older, newer):
    with pytest.raises(DataError, match=r"can't (sum|append|merge|reduce)"):
        value(strategy, older, newer)


def test_keyed_arrays_merge_by_key():
    annotated = {
        "reduce": {"strategy": "merge", "key": ["/k"]},
        "items": {"properties": {"n": {"reduce": {"strategy": "sum"}}}, "reduce": MERGE},
    }
    found = reducer({"properties": {"v": annotated}, "reduce": MERGE}).reduce(
        b'{"v":[{"k":1,"n":1},{"k":3,"n":1}]}',
        b'{"v":[{"k":1.0,"n":5},{"k":2,"n":7},{"k":4}]}',
        full=True,
    )
    assert found.document == b'{"v":[{"k":1.0,"n":6},{"k":2,"n":7},{"k":3,"n":1},{"k":4}]}'
    assert value("merge", b"[1,3]", b"[2,3.0]", key=[""]) == b"[1,2,3.0]"


def test_extremes_with_a_key_merge_what_is_equal():
    assert value("maximize", b'{"k":1,"a":1}', b'{"k":1.0,"b":2}', key=["/k"]) == (
        b'{"k":1.0,"a":1,"b":2}'
    )
    assert value("minimize", b'{"a":1}', b'{"k":1}', key=["/k"]) == b'{"a":1}'
    assert value("maximize", b'{"k":2}', b'{"k":1,"b":2}', key=["/k"]) == b'{"k":2}'


def test_members_of_a_set_are_told_apart_by_its_key():
    assert value(
        "set", b'{"add":[{"k":1,"v":1},{"k":2}]}', b'{"remove":[{"k":2}],"add":[{"k":1,"v":2}]}',
        key=["/k"],
    ) == b'{"add":[{"k":1,"v":2}]}'  # fmt: skip


@pytest.mark.parametrize(
    ("older", "newer", "result"),
    [
        (None, {"type": "integer"}, {"type": "integer"}),
        ({"type": "integer"}, {"type": "null"}, {"type": ["integer", "null"]}),
        ({"type": "null", G: "0a"}, {"type": "integer", G: "0b"}, {"type": "integer", G: "0b"}),
        ({"type": "null", G: "0b"}, {"type": "integer", G: "0a"}, {"type": "null", G: "0b"}),
        ({"type": "null", G: "0b"}, {"type": "null"}, {"type": "null", G: "0b"}),
        (
            {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
             "additionalProperties": False, "x-complexity-limit": 1},
            {"type": "object", "additionalProperties": False},
            {"type": "object", "properties": {"a": {"type": "null"}},
             "additionalProperties": {"type": "null"}, "x-complexity-limit": 1},
        ),
    ],
)  # fmt: skip
def test_schemas_merge_into_what_either_allows(older, newer, result):
    encode = msgspec.json.encode
    found = value("jsonSchemaMerge", older and encode(older), encode(newer))
    merged = msgspec.json.decode(found)
    merged.pop("$schema", None)
    assert merged == result


def test_without_an_annotation_the_last_write_wins():
    plain = reducer({"properties": {"v": {"type": "integer"}}})
    assert plain.last_write_wins
    assert plain.reduce(b'{"v":1,"w":2}', b'{"v":2}', full=True).document == b'{"v":2}'
    assert plain.combined([b"{}", b'{"v":1}']) == [b'{"v":1}']


@pytest.mark.parametrize("then", [MERGE_DELETE, LAST_DELETE])
def test_a_condition_on_the_newer_document_selects_the_strategy(then):
    conditional = reducer({"if": OP, "then": {"reduce": then}, "else": {"reduce": MERGE}})
    created = b'{"_meta":{"op":"c"},"a":1.0}'
    updated = conditional.reduce(created, b'{"_meta":{"op":"u"},"b":1}', full=True)
    assert (updated.document, updated.deleted) == (b'{"_meta":{"op":"u"},"a":1.0,"b":1}', False)
    deleted = conditional.reduce(created, TOMBSTONE, full=True)
    kept = b'{"_meta":{"op":"d"},"a":1.0}' if then is MERGE_DELETE else TOMBSTONE
    assert (deleted.document, deleted.deleted) == (kept, True)
    partial = conditional.reduce(created, TOMBSTONE, full=False)
    assert (partial.document, partial.deleted) == (kept, False)
    assert not conditional.is_tombstone(b"{}")
    assert conditional.is_tombstone(rb'{"_meta":{"op":"\u0064"}}')


def test_a_missing_op_satisfies_a_condition_that_does_not_require_it():
    loose = {"properties": {"_meta": {"properties": {"op": {"const": "d"}}}}}
    found = reducer({"if": loose, "then": {"reduce": LAST_DELETE}})
    answers = [b"{}", b'{"_meta":{}}', b'{"_meta":5}', b'{"_meta":{"op":"c"}}', TOMBSTONE]
    assert [found.is_tombstone(each) for each in answers] == [True, True, True, False, True]


def test_one_of_any_of_all_of_and_references_select_too():
    schema = {
        "$defs": {"count": {"reduce": {"strategy": "sum"}}, "op": OP},
        "allOf": [{"reduce": MERGE}],
        "properties": {
            "n": {"$ref": "#/$defs/count"},
            "u": {
                "oneOf": [
                    {"type": "integer", "reduce": {"strategy": "maximize"}},
                    {"type": "string", "reduce": {"strategy": "firstWriteWins"}},
                ]
            },
        },
        "anyOf": [{"$ref": "#/$defs/op", "reduce": MERGE}, True],
        "patternProperties": {"^x": {"reduce": {"strategy": "append"}}},
        "additionalProperties": {"reduce": {"strategy": "minimize"}},
    }
    found = reducer(schema).reduce(
        b'{"n":1,"u":9,"x":[1],"other":1}', b'{"n":2,"u":3,"x":[2],"other":2}', full=True
    )
    assert found.document == b'{"n":3,"u":9,"x":[1,2],"other":1}'
    assert reducer(schema).reduce(b'{"u":9}', b'{"u":"s"}', full=True).document == b'{"u":9}'


def test_a_nested_delete_acts_only_in_full_reductions():
    gone = {"const": None}
    schema = {
        "reduce": MERGE,
        "properties": {"p": {"if": gone, "then": {"reduce": LAST_DELETE}}},
    }
    found = reducer(schema)
    assert found.reduce(b'{"p":1,"q":2}', b'{"p":null}', full=True).document == b'{"q":2}'
    assert found.reduce(None, b'{"p":null,"q": 2}', full=True).document == b'{"q":2}'
    assert found.reduce(b'{"p":1}', b'{"p":null}', full=False).document == b'{"p":null}'
    assert found.reduce(None, b'{"p" :null}', full=False).document == b'{"p" :null}'


def test_what_is_not_associative_is_kept_apart():
    source = {"properties": {"s": {"reduce": {"strategy": "lastWriteWins", "associative": False}}}}
    found = reducer({"properties": {"_meta": {**source, "reduce": MERGE}}, "reduce": MERGE})
    documents = [b'{"_meta":{"s":1}}', b'{"_meta":{"s":2}}', b'{"_meta":{}}']
    assert found.reduce(*documents[:2], full=False) is None
    assert found.combined(documents) == [b'{"_meta":{"s":1}}', b'{"_meta":{"s":2}}']
    assert found.reduced(None, documents).document == b'{"_meta":{"s":2}}'


def test_a_merge_after_a_tombstone_starts_from_nothing():
    conditional = reducer({"if": OP, "then": {"reduce": MERGE_DELETE}, "else": {"reduce": MERGE}})
    updates = [TOMBSTONE, b'{"_meta":{"op":"c"},"b":1}']
    assert conditional.combined(updates) == updates
    found = conditional.reduced(b'{"a":1}', updates)
    assert (found.document, found.deleted) == (updates[1], False)


def test_values_that_are_not_touched_keep_their_bytes():
    older = rb'{"big":123456789012345678901234567890,"e":1e3,"o":{ "x" : 1.0 },"s":"\u00e9\/"}'
    found = reducer({"reduce": MERGE}).reduce(older, b'{"n":0.10}', full=True)
    assert found.document == older[:-1] + b',"n":0.10}'


@pytest.mark.parametrize(
    ("annotated", "message"),
    [
        ({"strategy": "lastWins"}, "'?/properties/v/reduce.*strategy is one of"),
        ({"strategy": "sum", "delete": True}, "sum has no 'delete'"),
        ({"strategy": "merge", "key": ["k"]}, "doesn't start with '/'"),
        ("merge", "can't use the reduce annotation"),
    ],
)
def test_a_bad_annotation_is_refused_by_place(annotated, message):
    with pytest.raises(ConfigError, match=message):
        reducer({"properties": {"v": {"reduce": annotated}}})


def test_two_strategies_at_one_location_are_an_error():
    same = reducer({"reduce": MERGE, "allOf": [{"reduce": MERGE}]})
    assert same.reduce(b'{"a":1}', b"{}", full=True).document == b'{"a":1}'
    with pytest.raises(ConfigError, match="both annotated"):
        reducer({"reduce": MERGE, "allOf": [{"reduce": {"strategy": "sum"}}]})


INTEGERS = st.integers(-100, 100)
MEMBERS = st.lists(st.integers(0, 5), unique=True).map(sorted)
SETS = st.fixed_dictionaries(
    {}, optional={"add": MEMBERS, "remove": MEMBERS}
) | st.fixed_dictionaries({}, optional={"add": MEMBERS, "intersect": MEMBERS})
FIELDS = {
    "first": (INTEGERS, {"strategy": "firstWriteWins"}),
    "last": (INTEGERS, {"strategy": "lastWriteWins"}),
    "least": (INTEGERS | st.text(max_size=1), {"strategy": "minimize"}),
    "most": (INTEGERS | st.none(), {"strategy": "maximize"}),
    "sum": (INTEGERS, {"strategy": "sum"}),
    "text": (st.decimals(-100, 100, places=2).map(str), {"strategy": "sum"}),
    "set": (SETS, {"strategy": "set"}),
    "list": (st.lists(INTEGERS, max_size=2), {"strategy": "append"}),
    "keyed": (MEMBERS, {"strategy": "merge", "key": [""]}),
    "indexed": (st.lists(INTEGERS, max_size=3), {"strategy": "merge"}),
    "plain": (INTEGERS, None),
    "any": (INTEGERS | st.lists(INTEGERS, max_size=1), None),
}
LAWFUL = {
    "reduce": MERGE,
    "properties": {
        name: {"reduce": annotated} if annotated else {} for name, (_, annotated) in FIELDS.items()
    },
}
NESTED = {
    "properties": {
        "in": LAWFUL,
        "_meta": {},
        **LAWFUL["properties"],
        "gone": {"if": {"const": 0}, "then": {"reduce": LAST_DELETE}},
    },
    "if": OP,
    "then": {"reduce": MERGE_DELETE},
    "else": {"reduce": MERGE},
}
LEVEL = {name: values for name, (values, _) in FIELDS.items()}
UPDATES = st.fixed_dictionaries(
    {},
    optional={
        **LEVEL,
        "in": st.fixed_dictionaries({}, optional=LEVEL),
        "gone": st.integers(0, 1),
        "_meta": st.sampled_from([{"op": "d"}, {"op": "c"}, {"op": "u"}]),
    },
).map(msgspec.json.encode)
NESTING = reducer(NESTED)


def normal(document):
    """A document without the order of its properties, which reductions don't promise."""
    return msgspec.json.decode(document)


@settings(max_examples=80, deadline=None)
@given(st.none() | UPDATES, st.lists(UPDATES, min_size=1, max_size=4))
def test_partial_then_full_equals_full(stored, updates):
    if stored is not None:
        first = NESTING.reduced(None, [stored])  # a stored document is itself fully reduced
        stored = None if first.deleted else first.document
    at_once = NESTING.reduced(stored, updates)
    combined = NESTING.reduced(stored, NESTING.combined(updates))
    assert at_once.deleted == combined.deleted
    assert normal(at_once.document) == normal(combined.document)


@settings(max_examples=80, deadline=None)
@given(UPDATES, UPDATES, UPDATES)
def test_partial_reductions_are_associative(first, second, third):
    def combined(older, newer):
        found = None if older is None or newer is None else NESTING.reduce(older, newer, full=False)
        return found and found.document

    left = combined(combined(first, second), third)
    right = combined(first, combined(second, third))
    if left is not None and right is not None:
        assert normal(left) == normal(right)


DELETES = (
    b'{"if":{"properties":{"_meta":{"properties":{"op":{"const":"d"}},"required":["op"]}},'
    b'"required":["_meta"]},"then":{"reduce":{"strategy":"merge","delete":true}}}'
)
DELETES_BY_DEFAULT = DELETES.replace(b',"required":["op"]', b"")


@given(
    st.sampled_from([DELETES, DELETES_BY_DEFAULT, b"{}"]),
    st.lists(
        st.sampled_from(
            [
                b'{"_meta":{"op":"d"}}',
                b'{"_meta":{"op":"\\u0064"}}',
                b'{"_meta":{"op":"c"},"x":"d"}',
                b'{"_meta":{"op":"u"}}',
                b'{"_meta":{}}',
                b"{}",
                b'{"a":"\\n"}',
            ]
        )
    ),
)
def test_the_tombstones_of_a_batch_are_those_of_its_documents(schema, documents):
    reducer = Reducer(schema)
    expected = [place for place, each in enumerate(documents) if reducer.is_tombstone(each)]
    values = Extractor(reducer.delete_pointers).columns(documents)
    assert reducer.tombstones(documents) == reducer.tombstones(documents, values) == expected


def test_documents_are_not_searched_where_their_values_tell_that_none_deletes():
    reducer = Reducer(DELETES)
    assert reducer.delete_pointers == ["/_meta/op"]
    assert reducer.tombstones([b'{"_meta":{"op":"d"}}'], [[b'"c"']]) == []
    assert Reducer(DELETES_BY_DEFAULT).delete_pointers == []
