"""What the connector says of itself and of its streams."""

from pathlib import Path

import msgspec
import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files.formats import FORMATS
from estuary_cdk.kits.files.options import Compression
from estuary_cdk.protocol.codec import encode_json


def told(message):
    return msgspec.json.decode(encode_json(msgspec.to_builtins(message)))


async def test_the_spec(site, snapshot):
    spec = await site.runtime.spec()
    assert msgspec.json.decode(msgspec.json.encode(spec)) == snapshot


async def test_each_stream_is_a_binding(site, snapshot):
    site.file("keyed.json", b'[{"id":1,"at":{"day":"x"}},{"id":"2","at":{"day":"y"}}]')
    site.stream("plain", "https://example.com/never-asked.csv")
    site.stream("keyed", "keyed.json", key=["/id", "/at/day"])
    found = await site.runtime.discover(site.config)
    assert msgspec.json.decode(msgspec.json.encode(found)) == snapshot


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"id":1}\n{"other":1}', "integer or no value"),
        (b'{"id":1.5}', "found number"),
        (b'{"id":{}}', "an object or array"),
        (b"", "no record"),
    ],
)
async def test_a_key_that_does_not_identify_is_refused(site, content, reason):
    site.file("f.jsonl", content)
    site.stream("f.jsonl", key=["/id"])
    with pytest.raises(ConfigError, match=reason):
        await site.runtime.discover(site.config)


def test_the_readme_names_every_format_and_compression():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    told = [row.name for row in FORMATS if row.name != "tsv"]
    told += [suffix for row in FORMATS for suffix in row.suffixes]
    told += Compression.__args__
    assert [name for name in told if f"`{name}`" not in readme] == []
