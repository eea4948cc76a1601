"""What materializations rely on of the service: statements, loads, tables and reads of them."""

import io
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import uuid4

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core import exceptions
from google.cloud import bigquery as client_library
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read import transports as read_transports
from google.cloud.bigquery_storage_v1.services.big_query_write import (
    transports as write_transports,
)

Client = client_library.Client

# What is made, what is asked, what is answered.
RELIED_ON = {
    "MERGE inserts, updates and deletes": (
        [
            "create table $.t (k int64, v string)",
            "create table $.s (k int64, v string, gone bool)",
            "insert $.t (k, v) values (1, 'old'), (2, 'old'), (3, 'old')",
            "insert $.s (k, v, gone) values (1, 'new', false), (2, null, true), (9, 'x', false)",
            "merge into $.t as l using $.s as r on l.k = r.k and l.k between 1 and 9 "
            "when matched and r.gone then delete when matched then update set v = r.v "
            "when not matched and not r.gone then insert (k, v) values (r.k, r.v)",
        ],
        "select k, v from $.t order by k",
        [(1, "new"), (3, "old"), (9, "x")],
    ),
    "a transaction is done": (
        [
            "create table $.t (k int64)",
            "begin transaction; insert $.t (k) values (1); insert $.t (k) values (2); "
            "commit transaction",
        ],
        "select count(*) from $.t",
        [(2,)],
    ),
    "decimals keep their digits": (
        [
            "create table $.t (n numeric, b bignumeric)",
            "insert $.t (n, b) values (numeric '12345678901234567890123456789.123456789', "
            "cast('1.0123456789' as bignumeric))",
        ],
        "select n, b from $.t",
        [(Decimal("12345678901234567890123456789.123456789"), Decimal("1.0123456789"))],
    ),
    "texts become great integers": (
        [
            "create table $.t (k bignumeric(38))",
            "create table $.s as select '123456789012345678901234567890' as c",
            "merge $.t l using (select cast(c as bignumeric) as c from $.s) r on l.k = r.c "
            "when not matched then insert (k) values (r.c)",
        ],
        "select k from $.t where k > bignumeric '12345678901234567890'",
        [(Decimal(123456789012345678901234567890),)],
    ),
    "a column is widened": (
        [
            "create table $.t (k int64)",
            "insert $.t (k) values (7)",
            "alter table $.t alter column k set data type numeric, add column v string",
        ],
        "select k, v from $.t",
        [(Decimal(7), None)],
    ),
    "an answer is kept in a table": (
        ["create table $.t as select 1 as k, 'x' as v"],
        "select k, v from $.t",
        [(1, "x")],
    ),
    "columns are described": (
        ["create table $.t (k int64 not null, j json)", "alter table $.t add column n bignumeric"],
        "select column_name, data_type, is_nullable from $.INFORMATION_SCHEMA.COLUMNS "
        "where table_name = 't' order by ordinal_position",
        [("k", "INT64", "NO"), ("j", "JSON", "YES"), ("n", "BIGNUMERIC", "YES")],
    ),
}


def _run(client: Client, sql: str, **more) -> list[tuple]:
    job = client.query(sql, retry=None, job_retry=None, **more)
    return [tuple(row) for row in job.result(retry=None)]


def _load(client: Client, table: str, rows: pa.Table, **settings) -> client_library.LoadJob:
    file = io.BytesIO()
    pq.write_table(rows, file)
    lists = client_library.ParquetOptions()
    lists.enable_list_inference = True
    config = client_library.LoadJobConfig(
        source_format="PARQUET", write_disposition="WRITE_APPEND", **settings
    )
    config.parquet_options = lists
    size = file.tell()
    file.seek(0)
    job = client.load_table_from_file(file, table, size=size, num_retries=0, job_config=config)
    return job.result()


@pytest.mark.parametrize(("made", "asked", "answered"), RELIED_ON.values(), ids=RELIED_ON.keys())
def test_statements_do_what_the_services_do(client, dataset, made, asked, answered):
    for each in made:
        _run(client, each.replace("$", dataset))
    assert _run(client, asked.replace("$", dataset)) == answered


def test_a_table_tells_what_statements_said_of_it(client, dataset):
    _run(
        client,
        f"create table {dataset}.t (k int64 not null options(description='key'), n numeric(20, 5), "
        "j json, t timestamp) partition by timestamp_trunc(t, month) cluster by k "
        "options(description='all', expiration_timestamp="
        "timestamp_add(timestamp '2030-01-01 00:00:00 UTC', interval 1 hour))",
    )
    _run(
        client,
        f"alter table {dataset}.t add column b bignumeric options(description='big'), "
        "alter column k drop not null, alter column n set data type bignumeric, "
        "alter column j set options(description='raw'), set options(labels=[('a', 'b')])",
    )
    _run(client, f"insert {dataset}.t (k) values (1)")
    table = client.get_table(f"{dataset}.t")
    assert table.schema == [
        SchemaField("k", "INTEGER", description="key"),
        SchemaField("n", "BIGNUMERIC"),
        SchemaField("j", "JSON", description="raw"),
        SchemaField("t", "TIMESTAMP"),
        SchemaField("b", "BIGNUMERIC", description="big"),
    ]
    assert (table.description, table.labels, table.num_rows) == ("all", {"a": "b"}, 1)
    assert table.expires == datetime(2030, 1, 1, 1, tzinfo=UTC)
    assert table.clustering_fields == ["k"]
    assert table.time_partitioning == client_library.TimePartitioning("MONTH", "t")


def test_a_table_tells_what_requests_said_of_it(client, dataset):
    wanted = client_library.Table(
        f"test.{dataset}.t",
        [SchemaField("k", "INTEGER", "REQUIRED"), SchemaField("b", "BIGNUMERIC")],
    )
    wanted.range_partitioning = client_library.RangePartitioning(
        field="k", range_=client_library.PartitionRange(start=0, end=100, interval=10)
    )
    table = client.create_table(wanted)
    table.schema = [SchemaField("k", "INTEGER"), *table.schema[1:], SchemaField("j", "JSON")]
    table.description = "changed"
    client.update_table(table, ["schema", "description"])
    _run(client, f"insert {dataset}.t (k, b, j) values (null, 1.5, json '1')")
    told = client.get_table(f"{dataset}.t")
    assert [(each.name, each.field_type, each.mode) for each in told.schema] == [
        ("k", "INTEGER", "NULLABLE"),
        ("b", "BIGNUMERIC", "NULLABLE"),
        ("j", "JSON", "NULLABLE"),
    ]
    assert (told.description, told.range_partitioning.range_.end) == ("changed", 100)
    table.schema = table.schema[:1]
    with pytest.raises(exceptions.BadRequest, match="Field b is missing"):
        client.update_table(table, ["schema"])


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("alter column s set data type int64", r"\(STRING\) is assignable to the new type"),
        ("alter column n set data type numeric(9, 1)", r"\(NUMERIC\(8, 2\)\) is assignable"),
        ("add column r int64 not null", "Cannot add required column"),
        ("add column S int64", "Column already exists"),
        ("alter column nobody drop not null", "Column not found"),
    ],
)
def test_changes_that_the_service_refuses_are_refused(client, dataset, change, refusal):
    _run(client, f"create table {dataset}.t (s string, n numeric(8, 2))")
    with pytest.raises(exceptions.BadRequest, match=refusal):
        _run(client, f"alter table {dataset}.t {change}")


ROWS = pa.table(
    {
        "k": pa.array([1, 2], pa.int64()),
        "n": pa.array([Decimal("1234567890.123456789"), None], pa.decimal128(38, 9)),
        "b": pa.array([Decimal("1.0123456789"), None], pa.decimal128(38, 10)),
        "j": pa.array(['{"a":1.0}', None], pa.string()),
        "s": pa.array(["a\0é", ""], pa.string()),
        "y": pa.array([b"\0\xff", b""], pa.binary()),
        "f": pa.array([math.inf, -0.5], pa.float64()),
        "d": pa.array([date(1, 1, 1), date(9999, 12, 31)], pa.date32()),
        "t": pa.array(
            [datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None], pa.timestamp("us", "UTC")
        ),
        "c": pa.array([time(23, 59, 59, 999999), None], pa.time64("us")),
        "o": pa.array([True, None], pa.bool_()),
        "l": pa.array([["x", "y"], []], pa.list_(pa.string())),
    }
)
FIELDS = [
    SchemaField("k", "INTEGER", "REQUIRED"),
    SchemaField("n", "NUMERIC"),
    SchemaField("b", "BIGNUMERIC"),
    SchemaField("j", "JSON"),
    SchemaField("s", "STRING"),
    SchemaField("y", "BYTES"),
    SchemaField("f", "FLOAT"),
    SchemaField("d", "DATE"),
    SchemaField("t", "TIMESTAMP"),
    SchemaField("c", "TIME"),
    SchemaField("o", "BOOLEAN"),
    SchemaField("l", "STRING", "REPEATED"),
]


def test_parquet_is_loaded_and_read_back_as_arrow(service, client, dataset):
    assert _load(client, f"{dataset}.t", ROWS, schema=FIELDS).output_rows == 2
    assert _load(client, f"{dataset}.t", ROWS).output_rows == 2
    assert [each.field_type for each in client.get_table(f"{dataset}.t").schema] == [
        each.field_type for each in FIELDS
    ]
    job = client.query(f"select * from {dataset}.t limit 2")
    job.result()
    table = job.destination
    with grpc.insecure_channel(service.storage) as channel:
        reader = BigQueryReadClient(
            transport=read_transports.BigQueryReadGrpcTransport(channel=channel)
        )
        session = reader.create_read_session(
            parent="projects/test",
            read_session=types.ReadSession(
                table=f"projects/test/datasets/{table.dataset_id}/tables/{table.table_id}",
                data_format=types.DataFormat.ARROW,
            ),
            max_stream_count=1,
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        read = [
            pa.ipc.read_record_batch(
                pa.py_buffer(each.arrow_record_batch.serialized_record_batch), schema
            )
            for stream in session.streams
            for each in reader.read_rows(stream.name)
        ]
    assert pa.Table.from_batches(read).to_pylist() == ROWS.to_pylist()


def test_a_load_that_fails_leaves_nothing(client, dataset):
    wrong = pa.table({"k": pa.array(["x"])})
    with pytest.raises(exceptions.BadRequest, match="Error while reading data"):
        _load(client, f"{dataset}.t", wrong, schema=[SchemaField("k", "INTEGER")])
    assert list(client.list_tables(dataset)) == []
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        _load(client, f"{dataset}.t", wrong, create_disposition="CREATE_NEVER")


def test_a_load_adds_columns_only_when_it_may(client, dataset):
    _run(client, f"create table {dataset}.t (k int64)")
    rows = pa.table({"k": pa.array([1]), "v": pa.array(["x"])})
    fields = [SchemaField("k", "INTEGER"), SchemaField("v", "STRING")]
    with pytest.raises(exceptions.BadRequest, match=r"Cannot add fields \(field: v\)"):
        _load(client, f"{dataset}.t", rows, schema=fields)
    _load(
        client,
        f"{dataset}.t",
        rows,
        schema=fields,
        schema_update_options=["ALLOW_FIELD_ADDITION"],
    )
    assert _run(client, f"select k, v from {dataset}.t") == [(1, "x")]


def test_an_answer_is_put_where_the_job_says(client, dataset):
    for disposition, rows in [("WRITE_TRUNCATE", 1), ("WRITE_APPEND", 2), ("WRITE_TRUNCATE", 1)]:
        config = client_library.QueryJobConfig(
            destination=f"test.{dataset}.t", write_disposition=disposition
        )
        _run(client, "select 1 as k", job_config=config)
        assert client.get_table(f"{dataset}.t").num_rows == rows


def test_a_dataset_is_found_only_where_it_is(client, dataset):
    _run(client, f"create table {dataset}.t (k int64)")
    with pytest.raises(exceptions.NotFound, match="was not found in location US"):
        _run(client, f"select * from {dataset}.t", location="US")


def test_a_dry_run_does_nothing_and_uses_no_id(client, dataset):
    _run(client, f"create table {dataset}.t (k int64)")
    config = client_library.QueryJobConfig(dry_run=True)
    job_id = uuid4().hex
    for _ in range(2):
        client.query(f"drop table {dataset}.t", job_id=job_id, job_config=config, job_retry=None)
    assert client.get_table(f"{dataset}.t").num_rows == 0


def test_a_copy_is_made_of_a_table(client, dataset):
    _run(client, f"create table {dataset}.t as select 1 as k")
    client.copy_table(f"test.{dataset}.t", f"test.{dataset}.u").result()
    assert _run(client, f"select k from {dataset}.u") == [(1,)]


def test_a_committed_stream_takes_rows_at_their_offset_once(service, client, dataset):
    _run(client, f"create table {dataset}.t (k int64)")
    rows = pa.record_batch({"k": pa.array([1, 2])})
    schema = types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes())
    batch = types.ArrowRecordBatch(serialized_record_batch=rows.serialize().to_pybytes())
    with grpc.insecure_channel(service.storage) as channel:
        writer = BigQueryWriteClient(
            transport=write_transports.BigQueryWriteGrpcTransport(channel=channel)
        )
        stream = writer.create_write_stream(
            parent=writer.table_path("test", dataset, "t"),
            write_stream=types.WriteStream(type_=types.WriteStream.Type.COMMITTED),
        )
        codes = []
        for offset in (0, 0, 2, 9):
            asked = types.AppendRowsRequest(
                write_stream=stream.name,
                offset=offset,
                arrow_rows=types.AppendRowsRequest.ArrowData(writer_schema=schema, rows=batch),
            )
            codes += [each.error.code for each in writer.append_rows(iter([asked]))]
    already_exists, out_of_range = 6, 11
    assert codes == [0, already_exists, 0, out_of_range]
    assert _run(client, f"select count(*) from {dataset}.t") == [(4,)]
