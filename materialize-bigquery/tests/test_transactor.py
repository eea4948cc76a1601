"""Transactions against a service: staged, applied once whoever applies them, and looked up."""

from contextlib import suppress
from dataclasses import replace

import msgspec
import pytest

from estuary_cdk.errors import ConfigError, DataError, TransientError
from estuary_cdk.materialize import Keys, Shard, Stores, TruncateTable
from estuary_cdk.testing.bigquery import (
    BACKEND_ERROR,
    CONCURRENT_UPDATE,
    RATE_LIMITED,
    Break,
    Fault,
    JobFailure,
    access_denied,
)
from materialize_bigquery import found
from materialize_bigquery import service as service_module

LOW, HIGH = Shard("acme/task", 0, 0x7FFFFFFF), Shard("acme/task", 0x80000000, 0xFFFFFFFF)


def ids(dataset, table: str = "t") -> list[tuple]:
    return sorted(dataset.run(f"SELECT id, v FROM `{{d}}.{table}`"))


@pytest.fixture
def faulty(dataset):
    """Faults and requests are those of the emulator's front."""
    if dataset.service is None:
        pytest.skip("the real service has no faults to order")
    return dataset.service


def test_what_is_staged_is_no_ones_until_it_is_applied(dataset):
    binding = dataset.binding()
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "a"), (2, "b")))
        work = transactor.staged()
        assert ids(dataset) == []
        assert len(dataset.staged()) == 1
        transactor.apply(work)
        assert ids(dataset) == [(1, "a"), (2, "b")]
        assert dataset.loaded(transactor, 1, 3) == [b'{"id":1,"v":"a"}']
    assert dataset.staged() == []


def test_applying_twice_is_applying_once_even_after_what_came_later(dataset):
    one, two = dataset.binding(), dataset.binding("log", index=1, delta=True)
    dataset.create(one, two)
    with dataset.opened(one, two) as transactor:
        transactor.store(dataset.stores((1, "old")))
        transactor.store(dataset.stores((1, "old"), binding=1))
        first = transactor.staged()
        transactor.apply(first)
        transactor.store(dataset.stores((1, "new"), exists=True))
        transactor.apply(transactor.staged())
        transactor.apply(first)
        assert ids(dataset) == [(1, "new")]
        assert ids(dataset, "log") == [(1, "old")]


def test_the_note_of_what_was_applied_guards_where_the_service_forgot_its_jobs(dataset):
    binding = dataset.binding("log", delta=True)
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "a")))
        work = transactor.staged()
        transactor.apply(work)
        told = msgspec.json.decode(work[0])
        # Another id is what a job has that runs in another project, or after half a year.
        told["transaction"] += "x"
        transactor.apply({0: msgspec.json.encode(told)})
        assert ids(dataset, "log") == [(1, "a")]
        assert len(dataset.run("SELECT * FROM `{d}.flow_applied_v1`")) == 1


def test_two_shards_stage_and_apply_apart_and_for_each_other(dataset):
    binding = dataset.binding()
    dataset.create(binding)
    with dataset.opened(binding, shard=LOW) as low, dataset.opened(binding, shard=HIGH) as high:
        low.store(dataset.stores((1, "low")))
        high.store(dataset.stores((2, "high")))
        from_low, from_high = low.staged(), high.staged()
        assert len(dataset.staged()) == 2
        low.apply(from_high)
        high.apply(from_low)
        low.apply(from_low)
    assert ids(dataset) == [(1, "low"), (2, "high")]
    assert dataset.staged() == []


def test_leftovers_of_dead_runs_are_swept_but_for_those_of_others(dataset):
    mine, disabled = dataset.binding(), dataset.binding("u", index=1)
    dataset.create(mine, disabled)
    with dataset.opened(mine, disabled) as dead, dataset.opened(mine, shard=LOW) as other:
        dead.store(dataset.stores((1, "a")))
        dead.store(dataset.stores((1, "a"), binding=1))
        kept = dead.staged()[1]
        other.store(dataset.stores((2, "b")))
        of_other = other.staged()
        with dataset.opened(mine) as living:
            living.store(dataset.stores((3, "c")))
            living.apply(living.staged())
        assert len(dataset.staged()) == 2
        other.apply(of_other)
        dead.apply({1: kept})
    assert ids(dataset) == [(2, "b"), (3, "c")]
    assert ids(dataset, "u") == [(1, "a")]


def test_rows_are_deleted_changed_and_made_in_one_transaction(dataset):
    binding = dataset.binding()
    dataset.create(binding)
    with dataset.opened(binding, hardDelete=True) as transactor:
        transactor.store(dataset.stores((1, "a"), (2, "b"), (3, "c")))
        transactor.apply(transactor.staged())
        transactor.store(dataset.stores((1, "gone"), exists=True, delete=True))
        transactor.store(dataset.stores((9, "never there"), delete=True))
        transactor.store(dataset.stores((2, "B"), exists=True))
        transactor.store(dataset.stores((4, "d")))
        transactor.apply(transactor.staged())
        assert ids(dataset) == [(2, "B"), (3, "c"), (4, "d")]
        transactor.store(dataset.stores((8, "never there"), delete=True))
        assert transactor.staged() == {}


# A type, a value that it holds, one that it doesn't, the type that holds both, and what is there.
WIDENED = {
    "integers": (("integer",), {}, 1, 2**70, "BIGNUMERIC(38)", {"1", str(2**70)}),
    "integers and more": (("integer",), {}, 1, 10**40, "STRING", {"1", str(10**40)}),
    "words": (
        ("string",),
        {"format": "number"},
        "1.123456789",
        "NaN",
        "STRING",
        {"1.123456789", "NaN"},
    ),
    "times": (
        ("string",),
        {"format": "time"},
        "10:00:00Z",
        "10:00:00+02:00",
        "STRING",
        {"10:00:00Z", "10:00:00+02:00"},
    ),
    "moments": (
        ("string",),
        {"format": "date-time"},
        "2024-01-31T10:00:00.5Z",
        "0000-01-01T00:00:00Z",
        "STRING",
        {"2024-01-31T10:00:00.5Z", "0000-01-01T00:00:00Z"},
    ),
}


@pytest.mark.parametrize("name", WIDENED)
def test_a_column_becomes_wider_with_the_first_value_that_needs_it(name, dataset):
    types, inference, fits, needs, kind, shown = WIDENED[name]
    value = dataset.field("v", *types, "null", **inference)
    binding = dataset.binding(values=[value])
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, fits)))
        transactor.apply(transactor.staged())
        transactor.store(dataset.stores((2, fits)))
        transactor.store(dataset.stores((3, needs)))
        work = transactor.staged()
        transactor.apply(work)
        transactor.store(dataset.stores((4, needs)))
        transactor.apply(transactor.staged())
        transactor.apply(work)
    assert dataset.types("t")["v"] == kind
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((5, fits)))
        transactor.apply(transactor.staged())
    texts = [str(each) for _, each in ids(dataset)]
    assert len(texts) == 5
    assert set(texts) == shown


def test_what_a_shard_staged_fits_a_column_that_another_one_widened(dataset):
    at = dataset.field("v", "string", "null", format="time")
    binding = dataset.binding(values=[at])
    dataset.create(binding)
    opened = dataset.opened
    with opened(binding, shard=LOW, hardDelete=True) as low, opened(binding, shard=HIGH) as high:
        low.store(dataset.stores((1, "10:00:00Z"), exists=True))
        from_low = low.staged()
        high.store(dataset.stores((2, "10:00:00+02:00")))
        high.apply(high.staged())
        low.apply(from_low)
        low.store(dataset.stores((3, "11:00:00Z")))
        low.apply(low.staged())
    assert ids(dataset) == [(1, "10:00:00Z"), (2, "10:00:00+02:00"), (3, "11:00:00Z")]


def test_a_key_that_fits_no_column_is_looked_up_in_vain_and_refused(dataset):
    day = dataset.field("id", "string", key=True, format="date")
    binding = dataset.binding(keys=[day])
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.stage(Keys(0, [b'["0000-01-01"]', b'["2024-01-31"]']))
        assert list(transactor.loaded()) == []
        transactor.store(dataset.stores(("0000-01-01", "a")))
        with pytest.raises(DataError, match="a key in column 'id' doesn't fit DATE"):
            transactor.staged()


def test_a_backfill_leaves_nothing_to_a_process_from_before_it(dataset):
    binding = dataset.binding()
    dataset.create(binding)
    with dataset.opened(binding) as before:
        before.store(dataset.stores((1, "before")))
        work = before.staged()
        newer = replace(binding, backfill=1, task="acme/task")
        dataset.apply(TruncateTable(newer, dataset.table("t")))
        before.apply(work)
        assert ids(dataset) == []
    with dataset.opened(newer) as transactor:
        transactor.store(dataset.stores((2, "after")))
        transactor.apply(transactor.staged())
    assert ids(dataset) == [(2, "after")]


def test_documents_are_made_of_columns_again(dataset):
    values = [
        dataset.field("text", "string", "null"),
        dataset.field("maybe", "string", exists="MAY"),
        dataset.field("n", "integer"),
        dataset.field("f", "number"),
        dataset.field("o", "object", exists="MAY"),
        dataset.field("at", "string", format="date-time"),
        dataset.field("bytes", "string", content_encoding="base64"),
        dataset.field("mixed", "integer", "string", format="integer"),
        dataset.field("exact", "string", format="number"),
    ]
    binding = dataset.binding(values=values, whole=False)
    more = {"advanced": {"no_flow_document": True}}
    dataset.create(binding, **more)
    documents = [
        {
            "id": 2**60 + 1,
            "text": 'a"b\\\n日本',
            "n": -5,
            "f": 1.5,
            "o": {"a": [1, None, {"b": "c"}]},
            "at": "2024-01-31T10:00:00.5Z",
            "bytes": "AP8=",
            "mixed": "12",
            "exact": "1.123456789",
        },
        {
            "id": 1,
            "text": None,
            "maybe": "x",
            "n": 0,
            "f": 1e300,
            "at": "0001-01-01T00:00:00Z",
            "bytes": "",
            "mixed": 12,
            "exact": "-0.000000001",
        },
    ]
    names = [each.name for each in values]
    encode = msgspec.json.encode
    rows = Stores(
        0,
        [encode([each["id"]]) for each in documents],
        [encode([each.get(name) for name in names]) for each in documents],
        None,
        [False, False],
        [False, False],
    )
    with dataset.opened(binding, **more) as transactor:
        transactor.store(rows)
        transactor.apply(transactor.staged())
        found = dataset.loaded(transactor, 1, 2**60 + 1)
    assert [msgspec.json.decode(each) for each in found] == documents[::-1]


# What a process doesn't know: whether it was done. It must be, once.
LOST = {
    "the answer to a load": Fault(Break.AFTER, job="load"),
    "a load": Fault(Break.BEFORE, job="load"),
    "the answer to a script": Fault(Break.AFTER, job="query", statement="BEGIN TRANSACTION"),
    "a script": Fault(Break.BEFORE, job="query", statement="BEGIN TRANSACTION"),
    "the answer of a new staged table": Fault(Break.AFTER, method="POST", path="/tables$"),
    "a script in the service": Fault(BACKEND_ERROR, job="query", statement="BEGIN TRANSACTION"),
    "a script to a limit of the rate": Fault(RATE_LIMITED, statement="BEGIN TRANSACTION", times=3),
    "a load in the service": Fault(
        JobFailure("backendError", "Error encountered during execution."), job="load", times=2
    ),
    "a script to another transaction": Fault(
        CONCURRENT_UPDATE, statement="BEGIN TRANSACTION", times=3
    ),
    "a deletion of what was staged": Fault(Break.AFTER, method="DELETE"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_got_lost_is_done_once(name, dataset, faulty, monkeypatch):
    monkeypatch.setattr(service_module, "PAUSE_S", 0.001)
    binding = dataset.binding("log", delta=True)
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        faulty.inject(LOST[name])
        transactor.store(dataset.stores((1, "a"), (2, "b")))
        transactor.apply(transactor.staged())
    assert ids(dataset, "log") == [(1, "a"), (2, "b")]
    assert dataset.staged() == []


def test_a_job_that_runs_is_waited_for(dataset, faulty):
    binding = dataset.binding()
    dataset.create(binding)
    faulty.run_long(3)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "a")))
        transactor.apply(transactor.staged())
        assert dataset.loaded(transactor, 1) == [b'{"id":1,"v":"a"}']


def test_a_limit_of_attempts_ends_the_session_and_the_next_one_goes_on(
    dataset, faulty, monkeypatch
):
    monkeypatch.setattr(service_module, "PAUSE_S", 0.001)
    monkeypatch.setattr(service_module, "JOB_ATTEMPTS_MAX", 3)
    binding = dataset.binding("log", delta=True)
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "a")))
        work = transactor.staged()
        faulty.inject(Fault(CONCURRENT_UPDATE, statement="BEGIN TRANSACTION", times=3))
        with pytest.raises(TransientError, match="concurrent update"):
            transactor.apply(work)
    with dataset.opened(binding) as transactor:
        transactor.apply(work)
    assert ids(dataset, "log") == [(1, "a")]


def test_only_tables_with_something_to_store_are_touched(dataset, faulty):
    one, two = dataset.binding(), dataset.binding("u", index=1)
    dataset.create(one, two)
    with dataset.opened(one, two) as transactor:
        transactor.store(dataset.stores((1, "a"), binding=1))
        faulty.forget()
        work = transactor.staged()
        transactor.apply(work)
        assert list(work) == [1]
        sent = [call.statement for call in faulty.calls if "BEGIN" in call.statement]
        assert len(sent) == 1
        assert "INSERT INTO" in sent[0]
        assert "MERGE" not in sent[0]


def test_loads_are_read_by_the_api_where_the_storage_api_may_not_be_used(dataset, faulty):
    binding = dataset.binding()
    dataset.create(binding)
    rows = [(key, "x" * 50) for key in range(25)]
    for advanced in ({"storage_endpoint": None}, {"storage_endpoint": "127.0.0.1:1"}):
        with dataset.opened(binding, advanced=advanced) as transactor:
            transactor.store(dataset.stores(*rows))
            transactor.apply(transactor.staged())
            keys = [key for key, _ in rows]
            assert len(dataset.loaded(transactor, *keys)) >= len(keys)
        dataset.run("TRUNCATE TABLE `{d}.t`")


@pytest.mark.parametrize(
    "does", [BACKEND_ERROR, Break.BEFORE, access_denied("bigquery.tables.getData")]
)
@pytest.mark.parametrize("skip", [0, 1, 2])
def test_a_page_that_fails_is_read_again_or_told_and_never_left_out(
    does, skip, dataset, faulty, monkeypatch
):
    monkeypatch.setattr(found, "PAGE_ROWS_MAX", 10)
    monkeypatch.setattr(found, "PAGE_RETRY_S", 1.0)
    binding = dataset.binding()
    dataset.create(binding)
    keys = range(35)
    with dataset.opened(binding, advanced={"storage_endpoint": None}) as transactor:
        transactor.store(dataset.stores(*[(key, "x") for key in keys]))
        transactor.apply(transactor.staged())
        faulty.forget()
        faulty.inject(Fault(does, method="GET", path="/queries/|/data$", skip=skip))
        with suppress(ConfigError):
            assert len(dataset.loaded(transactor, *keys)) == len(keys)


def test_a_missing_permission_while_storing_ends_the_session(dataset, faulty):
    binding = dataset.binding()
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "a")))
        faulty.inject(Fault(access_denied("bigquery.tables.create"), method="POST", path="tables"))
        with pytest.raises(ConfigError, match=r"bigquery.tables.create is missing.*dataEditor"):
            transactor.staged()
