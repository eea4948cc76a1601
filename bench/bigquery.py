"""materialize-bigquery against what a bare client does: new rows from stdin to a committed table.

    python bench/bigquery.py [--rows 1000000] [--runs 3] [--document]

At the tests' emulator, alternating: a load job of the rows as a ready NDJSON file, one of a ready
Parquet file, each by the official client in a process of its own that does nothing else; and the
same rows as `store` messages on the connector's stdin. The table has twelve columns, and the whole
document beside them if asked for. CPU seconds and peak memory are those of the one process that
loads, with its start; wall seconds, which hold the emulator's work, are without it. Medians come
last, as JSON.
"""

import argparse
import asyncio
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from uuid import UUID

import msgspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from postgres_destination import FIELDS, ROWS_PER_TRANSACTION

from estuary_cdk.materialize.runner import serve
from estuary_cdk.testing.bigquery import BigQuery, bigquery
from estuary_cdk.testing.materialize_runtime import BindingModel, MaterializeRuntime
from estuary_cdk.testing.selection import collection
from materialize_bigquery import materialization

PROJECT, DATASET = "bench", "bench"
CONNECTOR = (sys.executable, "-m", "materialize_bigquery")
ROWS_AT_ONCE = 10_000
COLUMNS = {
    "id": ("INTEGER", pa.int64()),
    "qty": ("INTEGER", pa.int64()),
    "price": ("NUMERIC", pa.decimal128(38, 9)),
    "title": ("STRING", pa.string()),
    "created_at": ("TIMESTAMP", pa.timestamp("us", "UTC")),
    "active": ("BOOLEAN", pa.bool_()),
    "attrs": ("JSON", pa.string()),
    "uid": ("STRING", pa.string()),
    "score": ("FLOAT", pa.float64()),
    "day": ("DATE", pa.date32()),
    "payload": ("BYTES", pa.binary()),
    "note": ("STRING", pa.string()),
}
BARE = """
import sys
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client, LoadJobConfig, SchemaField
url, file, format, table, fields = sys.argv[1:]
client = Client("bench", AnonymousCredentials(), client_options={"api_endpoint": url})
config = LoadJobConfig(source_format=format, write_disposition="WRITE_APPEND")
config.schema = [SchemaField(*each.split(":")) for each in fields.split(",")]
print("ready", flush=True)
with open(file, "rb") as rows:
    job = client.load_table_from_file(rows, table, job_config=config, rewind=True)
print(job.result().output_rows, flush=True)
sys.stdin.read()
"""
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Took:
    """What a process used; its wall seconds don't hold its start."""

    wall_s: float
    cpu_s: float
    peak_mb: float

    def told(self, rows: int) -> dict:
        return {
            "rows/s": round(rows / self.wall_s),
            "cpu_us_per_row": round(self.cpu_s * 1e6 / rows, 2),
            "cpu_s": round(self.cpu_s, 2),
            "peak_mb": round(self.peak_mb),
        }


def row(i: int) -> dict:
    """Return a row as JSON has it."""
    moment = BEGIN + timedelta(seconds=37 * i, microseconds=i % 1_000_000)
    return {
        "id": i,
        "qty": i * 7919 % 1000,
        "price": f"{i * 104729 % 10_000_000 / 100:.2f}",
        "title": f"event {i} of a kind {i % 97}",
        "created_at": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "active": i % 3 == 0,
        "attrs": {"n": i % 100, "tags": ["a", f"t{i % 10}"]},
        "uid": str(UUID(int=i * 2**64 + i)),
        "score": i * 0.37,
        "day": str(date(2024, 1, 1) + timedelta(days=i % 365)),
        "payload": base64.b64encode(i.to_bytes(16)).decode(),
        "note": None if i % 4 == 0 else f"note {i}",
    }


def typed(name: str, value):
    """Return a value as Arrow has it."""
    match name:
        case "price":
            return Decimal(value)
        case "created_at":
            return datetime.fromisoformat(value)
        case "attrs":
            return msgspec.json.encode(value).decode()
        case "day":
            return date.fromisoformat(value)
        case "payload":
            return base64.b64decode(value)
        case _:
            return value


def write(folder: Path, rows: int, values: list[str], *, document: bool) -> None:
    """Write the rows as messages, as NDJSON and as Parquet."""
    schema = pa.schema([(name, kind) for name, (_type, kind) in COLUMNS.items()])
    encode = msgspec.json.encode
    with (
        (folder / "messages").open("wb") as messages,
        (folder / "ndjson").open("wb") as lines,
        pq.ParquetWriter(folder / "parquet", schema) as parquet,
    ):
        for first in range(0, rows, ROWS_AT_ONCE):
            made = [row(i) for i in range(first, min(first + ROWS_AT_ONCE, rows))]
            columns = {name: [typed(name, each[name]) for each in made] for name in COLUMNS}
            parquet.write_table(pa.table(columns, schema))
            lines.writelines(encode(each) + b"\n" for each in made)
            for each in made:
                # The fields in the order asked for; the operation is none of ours.
                store = {"key": [each["id"]], "values": [each.get(name, "c") for name in values]}
                messages.write(encode({"store": {**store, **({"doc": each} if document else {})}}))
                messages.write(b"\n")


def ended(process: subprocess.Popen, started: float) -> Took:
    """Let a process that has done its work end; return what it used."""
    wall = time.perf_counter() - started
    # What wait4 tells of memory holds that of this process, from before the other's program began.
    told = Path(f"/proc/{process.pid}/status").read_text()
    [peak] = [line.split()[1] for line in told.splitlines() if line.startswith("VmHWM")]
    process.stdin.close()
    _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a process ended with {process.returncode}")
    return Took(wall, used.ru_utime + used.ru_stime, int(peak) / 1024)


def bare(service: BigQuery, file: Path, form: str, table: str) -> Took:
    """Load a file by the official client."""
    fields = ",".join(f"{name}:{kind}" for name, (kind, _arrow) in COLUMNS.items())
    command = [sys.executable, "-c", BARE, service.url, str(file), form, table, fields]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    started = time.perf_counter()
    process.stdout.readline()
    return ended(process, started)


class Task:
    """The connector's task for a table of its own."""

    def __init__(self, service: BigQuery, table: str, *, document: bool) -> None:
        config = {
            "project_id": PROJECT,
            "region": "US",
            "dataset": DATASET,
            "credentials": {"auth_type": "GCPAnonymous"},
            "advanced": {"api_endpoint": service.url, "storage_endpoint": service.storage},
        }
        exclude = frozenset() if document else frozenset({"flow_document"})
        resource = msgspec.json.encode({"table": table, "delta_updates": not document})
        fields = collection("bench/events", ["/id"], FIELDS)
        model = BindingModel(fields, resource, exclude=exclude)
        self.spec = asyncio.run(self._built(msgspec.json.encode(config), model))

    async def _built(self, config: bytes, model: BindingModel):
        runtime = MaterializeRuntime(lambda *pair: serve(materialization, *pair))
        spec = await runtime.build(config, [model])
        await runtime.apply(spec)
        return spec

    @property
    def values(self) -> list[str]:
        return self.spec.bindings[0].field_selection.values

    def run(self, messages: Path) -> Took:
        """Store all rows, some per transaction."""
        process = subprocess.Popen(CONNECTOR, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        spec = msgspec.Raw(msgspec.json.encode(self.spec))
        whole = {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1}
        say(process, {"open": {"materialization": spec, "version": "1", "range": whole}}, "opened")
        say(process, {"acknowledge": {}}, "acknowledged")
        started = time.perf_counter()
        with messages.open("rb") as file:
            while lines := b"".join(islice(file, ROWS_PER_TRANSACTION)):
                say(process, {"flush": {}}, "flushed")
                process.stdin.write(lines)
                say(process, {"startCommit": {"runtimeCheckpoint": {"n": 1}}}, "startedCommit")
                say(process, {"acknowledge": {}}, "acknowledged")
        return ended(process, started)


def say(process: subprocess.Popen, message: dict, answer: str) -> None:
    process.stdin.write(msgspec.json.encode(message) + b"\n")
    process.stdin.flush()
    prefix = b'{"%b"' % answer.encode()
    if not any(line.startswith(prefix) for line in process.stdout):
        raise SystemExit("the connector ended")


@contextmanager
def counted(what: str, rows: int, results: dict[str, list[dict]]):
    """Report what is done in the block, and the emulator's CPU seconds for it."""
    [emulator] = [
        each for each in psutil.Process().children() if "bqemulator" in " ".join(each.cmdline())
    ]
    before = sum(emulator.cpu_times()[:2])
    took: list[Took] = []
    yield took
    told = took[0].told(rows)
    told["emulator_cpu_s"] = round(sum(emulator.cpu_times()[:2]) - before, 2)
    print(what, told, flush=True)
    results.setdefault(what, []).append(told)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--document", action="store_true")
    asked = parser.parse_args()
    results: dict[str, list[dict]] = {}
    with bigquery() as service, tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for run in range(asked.runs):
            task = Task(service, f"ours{run}", document=asked.document)
            if run == 0:
                write(folder, asked.rows, task.values, document=asked.document)
            for form, name in (("NEWLINE_DELIMITED_JSON", "ndjson"), ("PARQUET", "parquet")):
                with counted(f"bare client, {name}", asked.rows, results) as took:
                    table = f"{PROJECT}.{DATASET}.{name}{run}"
                    took.append(bare(service, folder / name, form, table))
            with counted("connector", asked.rows, results) as took:
                took.append(task.run(folder / "messages"))
    medians = {
        what: {name: statistics.median(each[name] for each in all_) for name in all_[0]}
        for what, all_ in results.items()
    }
    print(msgspec.json.encode(medians).decode())


if __name__ == "__main__":
    main()
