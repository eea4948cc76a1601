"""Validation: fast proofs agree with the judge, and failures say what is wrong."""

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError
from flow_local.schema import formats
from flow_local.schema.acceptors import acceptors
from flow_local.schema.validation import Failure, Validator

NAMES = st.sampled_from(["a", "b", "c", "é", 'q"'])
BOUNDS = st.integers(-3, 12) | st.sampled_from([0.5, 2**53 + 1, 2**63, 10**30, -(2**64)])
LENGTHS = st.integers(0, 4)


def keywords(inner):
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["null", "boolean", "integer", "number", "string", "array"])
            | st.just("object")
            | st.lists(
                st.sampled_from(["null", "boolean", "integer", "number", "string", "object"]),
                unique=True,
                min_size=1,
            ),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, unique=True, max_size=2),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "minItems": LENGTHS,
            "maxItems": LENGTHS,
            "minLength": LENGTHS,
            "maxLength": LENGTHS,
            "format": st.sampled_from([*formats.DETECTED, "email", "nonsense"]),
            "minimum": BOUNDS,
            "maximum": BOUNDS,
            "exclusiveMaximum": BOUNDS,
            "enum": st.lists(st.sampled_from(["a", "b", "é", 1, None, True, False]), min_size=1),
            "const": st.sampled_from(["a", 1, 1.0, None, True]),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "if": inner,
            "then": st.just({"reduce": {"strategy": "merge"}}) | inner,
            "title": st.just("t"),
            "pattern": st.just("^a"),
        },
    )


SCHEMAS = st.recursive(
    st.booleans()
    | st.sampled_from(
        [{"type": "integer"}, {"type": ["number", "null"]}, {"type": "string"}, {}, {"const": "a"}]
    ),
    lambda inner: (
        keywords(inner) | st.fixed_dictionaries({"properties": st.dictionaries(NAMES, inner)})
    ),
    max_leaves=6,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-4, 13)
    | st.sampled_from([2**53, 2**63, 10**30, 10**30 + 1, -(2**64), 0.5, 1.0, 2.0**70, 1e300])
    | st.sampled_from(["", "a", "b", "é", "aaaaa", "-5", "1.5", "NaN", "2020-02-29", "12"])
    | st.sampled_from(["2020-01-01T00:00:00z", "2020-01-01 00:00:00Z", "1985-04-12T23:20:50.52Z\n"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(SCHEMAS, st.lists(st.dictionaries(NAMES, VALUES, max_size=3), min_size=3, max_size=8))
def test_what_a_decoder_accepts_the_judge_accepts(schema, documents):
    proofs = acceptors(schema)
    judge = jsonschema_rs.Draft202012Validator(
        schema, formats=formats.CUSTOM, validate_formats=True
    )
    validator = Validator(msgspec.json.encode(schema))
    for document in documents:
        text = msgspec.json.encode(document)
        valid = judge.is_valid(document)
        assert (validator.first_failure([text]) is None) == valid
        for accept in proofs or ():
            try:
                accept(text)
            except msgspec.DecodeError:
                break
        else:
            assert proofs is None or valid


@given(
    st.sampled_from(list(formats.PROOFS)),
    st.text("0123456789-+.eE:TtZz \nNaIfinitysha", max_size=30),
)
def test_what_proves_a_format_is_of_the_format(name, text):
    import re

    if re.search(formats.PROOFS[name], text):
        is_one = formats.predicate(name)
        assert is_one
        assert is_one(text)


FLAT = b"""{"type":"object","required":["id"],"properties":{
  "id":{"type":"integer"},"name":{"type":["string","null"],"maxLength":5},
  "at":{"type":"string","format":"date-time"},"tags":{"type":"array","items":{"type":"string"}},
  "_meta":{"type":"object","properties":{"op":{"enum":["c","u","d"]}},"required":["op"]}},
  "if":{"properties":{"_meta":{"properties":{"op":{"const":"d"}}}}},
  "then":{"reduce":{"strategy":"merge","delete":true}},"reduce":{"strategy":"lastWriteWins"}}"""
META = b'"_meta":{"op":"c"}'


def test_an_ordinary_schema_is_proved_by_decoding():
    assert Validator(FLAT).is_fast
    assert Validator(
        b'{"allOf":[{"type":"object"},{"$ref":"#/$defs/x"}],"$defs":{"x":{"required":["a"]}}}'
    ).is_fast
    assert not Validator(b'{"properties":{"a":{"pattern":"^x"}}}').is_fast


@pytest.mark.parametrize(
    ("document", "pointer", "reason"),
    [
        (b'{"id":"x"}', "/id", "type"),
        (b'{"name":null}', "", "required"),
        (b'{"id":1,"name":"toolong"}', "/name", "maxLength"),
        (b'{"id":1,"at":"2020-01-01T00:00:00"}', "/at", "format"),
        (b'{"id":1,"tags":["a",2]}', "/tags/1", "type"),
        (b'{"id":1,"_meta":{"op":"x"}}', "/_meta/op", "enum"),
        (b'[{"id":1}]', "", "not an object"),
        (b'{"id":1', "", "isn't a JSON document"),
        (b'{"id":1,"other":"\xff"}', "", "isn't a JSON document"),
        (b'{"id":1,"other":"\\ud800"}', "", "half of a surrogate pair"),
        (b'{"id":1,"other":"\\ud83d\\ude00\\ude00"}', "", "half of a surrogate pair"),
        (b'{"id":1,"other":"\\\\ud800"', "", "isn't a JSON document: Input data was truncated"),
        (b'{"id":1} {"id":2}', "", "isn't a JSON document"),
        (b'{"id":1,"other":' + b"[" * 5000 + b"]" * 5000 + b"}", "", "recursion"),
    ],
)
def test_a_failure_names_index_pointer_and_reason(document, pointer, reason):
    failure = Validator(FLAT).first_failure([b'{"id":1}', document, b"{}"])
    assert failure is not None
    assert (failure.index, failure.pointer) == (1, pointer)
    assert reason in failure.reason


def test_valid_documents_that_no_decoder_accepts_are_valid():
    documents = [b'{"id":1.0}', b'{"id":1e3}', b'{"id":"x","id":1}', b'{"id":1,"q":"\xc3\xa9"}']
    assert Validator(FLAT).first_failure(documents) is None


def test_a_reason_quotes_the_value_shortened():
    document = msgspec.json.encode({"id": "y" * 5000})
    failure = Validator(FLAT).first_failure([document])
    assert failure is not None
    assert len(failure.reason) < 300
    assert "yyy" in failure.reason


@pytest.mark.parametrize(
    ("bound", "number", "valid"),
    [
        (10**30, b"1000000000000000000000000000000", True),
        (10**30, b"1000000000000000000000000000001", False),
        (2**53, b"9007199254740993", False),
        (10**30, b"1e400", False),
        (1e308, b"1e-400", True),
    ],
)
def test_big_numbers_are_judged_exactly(bound, number, valid):
    schema = msgspec.json.encode({"properties": {"n": {"type": "number", "maximum": bound}}})
    assert (Validator(schema).first_failure([b'{"n":%s}' % number]) is None) == valid


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("integer", ["0", "-12", "9" * 50], ["", "1.5", "x", "1\n", "\uff11"]),
        ("number", ["1", "-1.5e-7", "NaN", "Infinity", "-Infinity"], ["", "1e", "nan", "0x1"]),
        (
            "date-time",
            ["2020-01-01t00:00:00z", "2020-01-01T00:00:00+02:00"],
            ["2020-01-01T00:00:00"],
        ),
        ("date", ["2020-02-29"], ["2021-02-29", "2020-1-1"]),
    ],
)
def test_formats_are_enforced(name, good, bad):
    schema = msgspec.json.encode({"properties": {"s": {"type": "string", "format": name}}})
    validator = Validator(schema)
    assert validator.first_failure([msgspec.json.encode({"s": text}) for text in good]) is None
    for text in bad:
        assert isinstance(validator.first_failure([msgspec.json.encode({"s": text})]), Failure)


def test_references_lead_within_the_schema():
    schema = b"""{"$defs":{"w":{"$id":"flow://write-schema","$defs":{"n o":{"type":"integer"}},
        "properties":{"a":{"$ref":"#/$defs/n%20o"},"t":{"$ref":"#tree"}}},
        "tree":{"$anchor":"x","items":{"$ref":"#x"},"type":"array"}},
        "$ref":"flow://write-schema","properties":{"u":{"$ref":"#x"}}}""".replace(
        b'"$ref":"#tree"', b'"type":"boolean"'
    )
    validator = Validator(schema)
    assert validator.first_failure([b'{"a":1,"t":true,"u":[[],[[]]]}']) is None
    assert validator.first_failure([b'{"a":"x"}']).pointer == "/a"
    assert validator.first_failure([b'{"u":[[],[1]]}']).pointer == "/u/1/0"


def test_draft_07_tuples_and_dependencies_are_understood():
    schema = b"""{"properties":{"t":{"items":[{"type":"integer"}],"additionalItems":false}},
        "dependencies":{"a":["b"],"c":{"required":["d"]}}}"""
    validator = Validator(schema)
    assert validator.first_failure([b'{"t":[1],"a":1,"b":1,"c":1,"d":1}']) is None
    for document in (b'{"t":[1,2]}', b'{"t":["x"]}', b'{"a":1}', b'{"c":1}'):
        assert validator.first_failure([document])


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        (b'{"properties":{"a":{"tpye":"string"}}}', "/properties/a/tpye"),
        (b'{"properties":{"a":{"type":"strin"}}}', "/properties/a/type"),
        (b'{"properties":{"a":5}}', "/properties/a"),
        (b'{"$ref":"#/$defs/none"}', "#/\\$defs/none"),
        (b'{"$ref":"https://example.com/x.json"}', "isn't bundled"),
        (b'{"properties":{"a":{"pattern":"("}}}', "/properties/a/pattern"),
        (b"{", "isn't JSON"),
    ],
)
def test_a_bad_schema_is_refused_by_place(schema, named):
    with pytest.raises(ConfigError, match=named):
        Validator(schema)


def test_all_unknown_keywords_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        Validator(b'{"foo":1,"x-mine":2,"secret":true,"items":{"bar":1},"const":{"baz":1}}')
    assert "'/foo'" in str(caught.value)
    assert "'/items/bar'" in str(caught.value)
    assert "baz" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        *((text, True) for text in ("P1Y2M3DT4H5M6S", "P2W", "PT0S", "P1M3DT1.5S", "P5403DT1H2S")),
        *((text, True) for text in ("P-1DT-0.000001S", "PT36H", "-P1D", "PT0,5S")),
        *(
            (text, False)
            for text in ("P", "PT", "P1DT", "1D", "P1S", "PT1D", "P1D ", "P1.D", "p1d")
        ),
    ],
)
def test_durations_are_all_those_of_iso_8601_as_sql_intervals_are(text, valid):
    validator = Validator(b'{"properties":{"d":{"type":"string","format":"duration"}}}')
    document = msgspec.json.encode({"d": text})
    assert (validator.first_failure([document]) is None) is valid
