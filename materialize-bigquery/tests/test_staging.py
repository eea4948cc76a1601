"""Files of many blocks and by way of a bucket, and any rows that are written and read back."""

import datetime as dt
import math
from decimal import Decimal

import msgspec
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estuary_cdk.materialize import Keys, Stores
from estuary_cdk.testing.gcs import gcs
from materialize_bigquery import staging


@pytest.fixture(scope="module")
def store():
    with gcs() as address:
        client = storage.Client(
            project="acme",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": address},
        )
        client.create_bucket("stage")
        yield address, client.bucket("stage")


def test_files_wait_in_a_bucket_and_are_deleted_once_loaded(dataset, store):
    if dataset.service is None:
        pytest.skip("the real service can't read files of this machine")
    address, bucket = store
    dataset.service.read_files_from(address)
    more = {
        "staging": {"type": "GCS", "bucket": "stage", "bucket_path": "/some/where/"},
        "advanced": {"gcs_endpoint": address},
    }
    binding = dataset.binding()
    dataset.create(binding, **more)
    with dataset.opened(binding, **more) as transactor:
        dataset.service.forget()
        transactor.store(dataset.stores((1, "a"), (2, "b")))
        transactor.apply(transactor.staged())
        assert dataset.loaded(transactor, 1) == [b'{"id":1,"v":"a"}']
    loads = [call.configuration["load"] for call in dataset.service.calls if call.job == "load"]
    addresses = [load["sourceUris"] for load in loads]
    assert all(each.startswith("gs://stage/some/where/flow_load_") for [each] in addresses)
    assert len(addresses) == 2
    assert list(bucket.list_blobs()) == []
    dataset.service.read_files_from(None)


def test_many_files_of_many_blocks_become_one_table(dataset, monkeypatch):
    monkeypatch.setattr(staging, "ROWS_PER_BLOCK", 10)
    monkeypatch.setattr(staging, "FILE_BYTES_MAX", 2000)
    binding = dataset.binding()
    dataset.create(binding)
    rows = [(key, f"value {key}" * 5) for key in range(200)]
    with dataset.opened(binding) as transactor:
        for start in range(0, 200, 7):
            transactor.store(dataset.stores(*rows[start : start + 7]))
        work = transactor.staged()
        assert len(dataset.staged()) == 1
        transactor.apply(work)
    assert sorted(dataset.run("SELECT id, v FROM `{d}.t`")) == rows


def test_each_load_has_its_type_and_its_table_expires(dataset):
    if dataset.service is None:
        pytest.skip("looks at what was sent")
    binding = dataset.binding()
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        dataset.service.forget()
        transactor.store(dataset.stores((1, "a")))
        transactor.staged()
    [load] = [call.configuration["load"] for call in dataset.service.calls if call.job == "load"]
    assert load["sourceFormat"] == "PARQUET"
    assert [each["type"] for each in load["schema"]["fields"]] == ["INT64", "STRING", "STRING"]
    [name] = dataset.staged()
    table = dataset.client.get_table(f"{dataset.project}.{dataset.name}.{name}")
    left = table.expires - dt.datetime.now(dt.UTC)
    assert 29 <= left.days <= 30


FIELDS = {
    "i": (("integer",), {}, st.integers(-(2**63), 2**63 - 1)),
    "b": (("boolean",), {}, st.booleans()),
    "f": (("number",), {}, st.floats(allow_nan=False, allow_infinity=False)),
    "w": (("number", "string"), {"format": "number"}, st.floats()),
    "n": (("string",), {"format": "number"}, st.decimals(-(10**28), 10**28, places=9)),
    "s": (("string",), {}, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    "y": (("string",), {"content_encoding": "base64"}, st.binary(max_size=20)),
    "d": (("string",), {"format": "date"}, st.dates()),
    "t": (
        ("string",),
        {"format": "date-time"},
        st.datetimes(timezones=st.just(dt.UTC)),
    ),
    "c": (("string",), {"format": "time"}, st.times()),
}
ROWS = st.lists(
    st.tuples(*(st.none() | values for _, _, values in FIELDS.values())), min_size=1, max_size=30
)


def spelled(value):
    """Return a value as a document has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat().replace("+00:00", "Z")
    return value


def same(value):
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_what_is_written_is_read_back(rows, dataset):
    fields = [
        dataset.field(name, *types, "null", **more) for name, (types, more, _) in FIELDS.items()
    ]
    binding = dataset.binding(values=fields)
    if dataset.name not in MADE:
        MADE.add(dataset.name)
        dataset.create(binding)
    encode = msgspec.json.encode
    keys = [b"[%d]" % key for key in range(len(rows))]
    values = [encode([spelled(value) for value in row]) for row in rows]
    batch = Stores(0, keys, values, values, [False] * len(rows), [False] * len(rows))
    with dataset.opened(binding) as transactor:
        transactor.store(batch)
        transactor.apply(transactor.staged())
        transactor.stage(Keys(0, keys))
        loaded = [each for found in transactor.loaded() for each in found.documents]
    assert sorted(loaded) == sorted(values)
    found = sorted(dataset.run(f"SELECT id, {', '.join(FIELDS)} FROM `{{d}}.t`"))
    assert [tuple(map(same, row[1:])) for row in found] == [tuple(map(same, row)) for row in rows]
    dataset.run("TRUNCATE TABLE `{d}.t`")


MADE: set[str] = set()
