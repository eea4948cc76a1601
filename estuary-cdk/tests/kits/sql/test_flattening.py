"""Which kind of column each shape of a schema wants."""

import pytest

from estuary_cdk.kits.sql import Flat, Kind, flat
from estuary_cdk.materialize import Field
from estuary_cdk.protocol.flow import Inference, NumericInference, StringInference


def field(*types: str, key: bool = False, config: bytes = b"", **inference) -> Field:
    told = Inference(types=sorted(types), **inference)
    return Field("f", "f", "/f", told, is_key=key, config=config)


def string(**known: str) -> StringInference:
    return StringInference(**known)


def bounds(low: float | None = None, high: float | None = None) -> NumericInference:
    return NumericInference(
        has_minimum=low is not None,
        minimum=low or 0.0,
        has_maximum=high is not None,
        maximum=high or 0.0,
    )


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (field(), Kind.NEVER),
        (field("null"), Kind.NEVER),
        (field("array"), Kind.ARRAY),
        (field("object", "null"), Kind.OBJECT),
        (field("boolean"), Kind.BOOLEAN),
        (field("integer"), Kind.INTEGER),
        (field("number"), Kind.NUMBER),
        (field("integer", "number"), Kind.NUMBER),
        (field("integer", numeric=bounds(-(2.0**63), 2.0**63)), Kind.INTEGER),
        (field("integer", numeric=bounds(0, 2.0**64)), Kind.BIG_INTEGER),
        (field("integer", numeric=bounds(-(2.0**64))), Kind.BIG_INTEGER),
        (field("string"), Kind.STRING),
        (field("string", string=string(content_encoding="base64")), Kind.BINARY),
        (
            field("string", string=string(content_encoding="base64", content_type="image/png")),
            Kind.STRING,
        ),
        (field("integer", "string"), Kind.MULTIPLE),
        (field("integer", "string", string=string(format="integer")), Kind.STRING_INTEGER),
        (field("string", string=string(format="integer")), Kind.STRING_INTEGER),
        (field("number", "string", string=string(format="number")), Kind.STRING_NUMBER),
        (field("boolean", "string", string=string(format="number")), Kind.MULTIPLE),
        (field("number", "string", string=string(format="integer")), Kind.MULTIPLE),
        (field("string", string=string(format="integer"), key=True), Kind.STRING),
        (field("object", "array"), Kind.MULTIPLE),
    ],
)
def test_a_shape_has_its_kind(given: Field, kind: Kind):
    assert flat(given).kind is kind


def test_a_string_keeps_its_format():
    assert flat(field("string", string=string(format="date"))) == Flat(Kind.STRING, "date")


def test_a_format_can_be_ignored():
    plain = field("string", string=string(format="date"), config=b'{"ignoreStringFormat":true}')
    assert flat(plain) == Flat(Kind.STRING)


def test_a_field_config_of_another_kind_says_nothing():
    assert flat(field("string", config=b"[1]")) == Flat(Kind.STRING)
