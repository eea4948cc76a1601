"""The service of tests as BigQuery's own client sees it."""

import io
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psutil
import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as client_library
from requests.exceptions import ConnectionError as BrokenError

from estuary_cdk.testing.bigquery import (
    BACKEND_ERROR,
    CONCURRENT_UPDATE,
    QUOTA_EXCEEDED,
    RATE_LIMITED,
    BigQuery,
    Break,
    Fault,
    access_denied,
    dataset_not_found,
    invalid_query,
)
from estuary_cdk.testing.gcs import gcs
from estuary_cdk.testing.patience import HANGS_S

Client = client_library.Client


@pytest.fixture(autouse=True)
def _nothing_left(service: BigQuery) -> Iterator[None]:
    yield
    service.forget()
    service.read_files_from(None)


def _run(client: Client, sql: str, job_id: str | None = None) -> list[tuple]:
    job = client.query(sql, job_id=job_id, retry=None, job_retry=None)
    return [tuple(row) for row in job.result(retry=None)]


def _load(client: Client, table: str, job_id: str, *, rows: int = 3, resumable: bool = False):
    lines = b"".join(b'{"a": %d}\n' % each for each in range(rows))
    config = client_library.LoadJobConfig(
        source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND", autodetect=True
    )
    return client.load_table_from_file(
        io.BytesIO(lines),
        table,
        size=None if resumable else len(lines),
        num_retries=None if resumable else 0,
        job_id=job_id,
        job_config=config,
    )


def test_a_querys_id_can_be_used_once(client, dataset):
    job_id = uuid4().hex
    _run(client, f"create table {dataset}.t (a int64)", job_id)
    with pytest.raises(exceptions.Conflict, match=f"Already Exists: Job test:EU.{job_id}"):
        _run(client, f"create table {dataset}.u (a int64)", job_id)
    assert client.get_job(job_id, location="EU").statement_type == "CREATE_TABLE"
    assert [each.table_id for each in client.list_tables(dataset)] == ["t"]


def test_of_those_who_use_an_id_at_once_one_makes_the_job(client, dataset):
    _run(client, f"create table {dataset}.t (a int64)")
    job_id = uuid4().hex

    def insert(_: int) -> bool:
        try:
            _run(client, f"insert {dataset}.t (a) values (1)", job_id)
        except exceptions.Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(insert, range(4))) == [False, False, False, True]
    assert _run(client, f"select count(*) from {dataset}.t") == [(1,)]


@pytest.mark.parametrize("resumable", [False, True])
def test_a_loads_id_can_be_used_once_and_finds_it(client, dataset, resumable):
    job_id = uuid4().hex
    _load(client, f"{dataset}.t", job_id, resumable=resumable).result()
    with pytest.raises(exceptions.Conflict, match=f"Already Exists: Job test:EU.{job_id}"):
        _load(client, f"{dataset}.t", job_id, resumable=resumable)
    assert client.get_job(job_id, location="EU").output_rows == 3
    assert _run(client, f"select sum(a) from {dataset}.t") == [(3,)]


def test_a_question_is_answered_again_under_its_request_id(client, dataset):
    _run(client, f"create table {dataset}.t (a int64)")
    asked = {
        "query": f"insert {dataset}.t (a) values (1)",
        "useLegacySql": False,
        "requestId": uuid4().hex,
    }
    answers = [
        client._connection.api_request(method="POST", path="/projects/test/queries", data=asked)
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert _run(client, f"select count(*) from {dataset}.t") == [(1,)]


def test_a_job_nobody_made_is_not_found(client):
    with pytest.raises(exceptions.NotFound, match=r"Not found: Job test:EU\.nobody"):
        client.get_job("nobody", location="EU")


@pytest.mark.parametrize(
    ("refusal", "error", "reason"),
    [
        (access_denied("bigquery.jobs.create"), exceptions.Forbidden, "accessDenied"),
        (RATE_LIMITED, exceptions.Forbidden, "rateLimitExceeded"),
        (QUOTA_EXCEEDED, exceptions.Forbidden, "quotaExceeded"),
        (dataset_not_found(), exceptions.NotFound, "notFound"),
        (invalid_query(), exceptions.BadRequest, "invalidQuery"),
        (BACKEND_ERROR, exceptions.ServiceUnavailable, "backendError"),
        (CONCURRENT_UPDATE, exceptions.BadRequest, "invalidQuery"),
    ],
)
def test_a_request_is_refused_once_in_the_services_words(service, client, refusal, error, reason):
    service.inject(Fault(refusal, job="query", statement="select 2"))
    assert _run(client, "select 1") == [(1,)]
    with pytest.raises(error) as caught:
        _run(client, "select 2")
    assert refusal.message in str(caught.value)
    assert caught.value.errors[0]["reason"] == reason
    assert _run(client, "select 2") == [(2,)]


def test_the_nth_request_of_a_path_is_refused(service, client, dataset):
    service.inject(Fault(RATE_LIMITED, method="GET", path=rf"/datasets/{dataset}$", skip=1))
    client.get_dataset(dataset, retry=None)
    with pytest.raises(exceptions.Forbidden):
        client.get_dataset(dataset, retry=None)
    client.get_dataset(dataset, retry=None)
    assert [each.method for each in service.calls if each.path.endswith(dataset)] == ["GET"] * 3


@pytest.mark.parametrize(("when", "rows"), [(Break.BEFORE, []), (Break.AFTER, [(3,)])])
def test_an_answer_is_lost_before_or_after_the_work(service, client, dataset, when, rows):
    job_id = uuid4().hex
    _run(client, f"create table {dataset}.t (a int64)")
    service.inject(Fault(when, job="load"))
    with pytest.raises(BrokenError):
        _load(client, f"{dataset}.t", job_id)
    assert _run(client, f"select sum(a) from {dataset}.t having sum(a) > 0") == rows
    if when is Break.AFTER:
        assert client.get_job(job_id, location="EU").state == "DONE"


@pytest.mark.parametrize("when", list(Break))
def test_an_uploads_last_piece_is_repeated_without_harm(service, client, dataset, when):
    _run(client, f"create table {dataset}.t (a int64)")
    service.inject(Fault(when, job="load"))
    job = _load(client, f"{dataset}.t", uuid4().hex, resumable=True)
    assert job.result().output_rows == 3
    assert _run(client, f"select sum(a) from {dataset}.t") == [(3,)]


def test_a_long_job_runs_before_it_is_done(service, client):
    service.run_long(2)
    job = client.query("select 7")
    assert job.state == "RUNNING"
    assert [tuple(row) for row in job.result()] == [(7,)]


def test_a_load_reads_files_from_a_store(service, client, dataset):
    from google.cloud import storage

    with gcs() as address:
        service.read_files_from(address)
        bucket = storage.Client(
            "test", AnonymousCredentials(), client_options={"api_endpoint": address}
        ).create_bucket("staged")
        for name in ("a/1.json", "a/2.json", "b/3.json"):
            bucket.blob(name).upload_from_string(f'{{"a": {name[2]}}}\n')
        config = client_library.LoadJobConfig(
            source_format="NEWLINE_DELIMITED_JSON", autodetect=True
        )
        client.load_table_from_uri(
            "gs://staged/a/*.json", f"{dataset}.t", job_config=config
        ).result()
    assert _run(client, f"select sum(a) from {dataset}.t") == [(3,)]


def test_the_service_ends_with_whoever_started_it():
    code = """
from estuary_cdk.testing.bigquery import bigquery
with bigquery():
    print("runs", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout.readline() == "runs\n"
        started = psutil.Process(starter.pid).children(recursive=True)
        starter.kill()
    assert len(started) >= 2
    assert psutil.wait_procs(started, timeout=HANGS_S)[1] == []
