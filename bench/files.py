"""source-s3 reading one large file per format from a loopback S3, beside plain readers.

    python bench/files.py [--rows 1000000] [--runs 1] [--only csv.gz jsonl parquet]

Each run takes the start of the process, the requests to a service beside it (`object_service.py`:
it checks no signatures and is as fast as files can be sent) and every document written to a file.
The limits read the same file from the disk: `csv.reader` behind gzip, pyarrow's readers of JSON
and Parquet on one thread. Medians come last, as JSON: documents per wall second,
CPU seconds of the process alone, and its peak memory.
"""

import argparse
import gzip
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import msgspec
import orjson
import pyarrow.csv
import pyarrow.parquet
from events_csv import main as write_csv
from measure import Measured, measured
from object_service import serving

CONNECTOR = Path(sys.executable).with_name("source-s3")
BUCKET = "bench"
LIMITS = {
    "csv.gz": """
import csv, gzip, sys
for _ in csv.reader(gzip.open(sys.argv[1], "rt", newline="")): pass
""",
    "jsonl": """
import sys
from pyarrow import json
options = json.ReadOptions(use_threads=False, block_size=1 << 20)
for _ in json.open_json(sys.argv[1], read_options=options): pass
""",
    "parquet": """
import sys
from pyarrow import parquet
for _ in parquet.ParquetFile(sys.argv[1]).iter_batches(use_threads=False): pass
""",
}


def write(directory: Path, rows: int) -> dict[str, Path]:
    """Write the same rows in each format."""
    paths = {name: directory / f"events.{name}" for name in LIMITS}
    plain = directory / "events.csv"
    write_csv(rows, str(plain))
    with plain.open("rb") as source, gzip.open(paths["csv.gz"], "wb", compresslevel=6) as packed:
        shutil.copyfileobj(source, packed)
    table = pyarrow.csv.read_csv(plain)
    pyarrow.parquet.write_table(table, paths["parquet"])
    with paths["jsonl"].open("wb") as file:
        for batch in table.to_batches(10_000):
            for row in batch.to_pylist():
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE, default=str))
    return paths


def captured(endpoint: str, key: str, out: Path, rows: int) -> Measured:
    """Capture one file."""
    config = {
        "bucket": BUCKET,
        "prefix": key,
        "credentials": {
            "auth_type": "AWSAccessKey",
            "aws_access_key_id": "someone",
            "aws_secret_access_key": "none",
        },
        "advanced": {"endpoint": endpoint},
    }
    binding = {
        "resourceConfig": {"stream": f"{BUCKET}/{key}"},
        "resourcePath": [f"{BUCKET}/{key}"],
        "collection": {"name": "a/c", "writeSchema": {}, "key": ["/_meta/file", "/_meta/offset"]},
        "stateKey": "s",
    }
    spec = {"name": "a/b", "connectorType": "LOCAL", "config": config, "bindings": [binding]}
    whole = {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1}
    opening = {"open": {"capture": spec, "version": "1", "state": {}, "range": whole}}
    result = measured([CONNECTOR], stdin=msgspec.json.encode(opening) + b"\n", stdout=out)
    with out.open("rb") as lines:
        documents = sum(line.startswith(b'{"captured"') for line in lines)
    assert documents == rows, f"{documents} of {rows} documents"
    return result


def told(rows: int, runs: list[Measured]) -> dict[str, int | float]:
    """Return the medians of runs; memory is the largest."""
    return {
        "per_s": round(rows / statistics.median(run.wall_s for run in runs)),
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 2),
        "peak_mb": round(max(run.peak_mb for run in runs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    asked = parser.parse_args()
    results: dict[str, object] = {"rows": asked.rows, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        stored = directory / "stored"
        stored.mkdir()
        for form, path in write(stored, asked.rows).items():
            if form not in asked.only:
                continue
            limit, ours = [], []
            for _ in range(asked.runs):
                limit.append(measured([sys.executable, "-c", LIMITS[form], path]))
                with serving(stored) as endpoint:
                    ours.append(captured(endpoint, path.name, directory / "out", asked.rows))
            size = round(path.stat().st_size / 1e6)
            results[form] = {
                "mb": size, "limit": told(asked.rows, limit), "ours": told(asked.rows, ours)
            }  # fmt: skip
    print(msgspec.json.format(msgspec.json.encode(results)).decode())


if __name__ == "__main__":
    main()
