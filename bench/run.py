"""HTTP CSV to SQLite: end to end, each stage alone, and two limits, all in one run.

    .venv/bin/python bench/run.py [--rows 1000000] [--rounds 3] [--only STAGE …] [--write]

Every round runs all stages one after the other, so that a drift of the machine meets all of them;
medians are reported, and ratios to the limits of the same run. `--write` puts them into README.md.
"""

import argparse
import csv
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measure import Measured, measured

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
FULL_RANGE = {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1}
COLUMNS = {
    "id": "integer",
    "qty": "integer",
    "price": "number",
    "title": "string",
    "created_at": "string",
    "active": "boolean",
    "city": "string",
    "score": "number",
    "day": "string",
    "note": "string",
}
KEY = ["/_meta/file", "/_meta/offset"]
META = {
    "type": "object",
    "required": ["file", "offset", "op"],
    "properties": {
        "file": {"type": "string"},
        "offset": {"type": "integer"},
        "op": {"type": "string"},
    },
}
DELETED = {
    "required": ["_meta"],
    "properties": {"_meta": {"required": ["op"], "properties": {"op": {"const": "d"}}}},
}
SCHEMA = {
    "type": "object",
    "required": ["_meta"],
    "properties": {
        "_meta": META,
        **{name: {"type": [kind, "null"]} for name, kind in COLUMNS.items()},
    },
    "if": DELETED,
    "then": {"reduce": {"strategy": "lastWriteWins", "delete": True}},
    "else": {"reduce": {"strategy": "lastWriteWins"}},
}


@dataclass(frozen=True)
class Bench:
    """Where everything of a benchmark lies; `rows` of data are served at `url`."""

    directory: Path
    rows: int
    url: str

    @property
    def data(self) -> Path:
        return self.directory / "www" / "events.csv"

    @property
    def captured(self) -> Path:
        return self.directory / "captured.jsonl"

    def fresh(self, name: str) -> Path:
        """Return an empty directory for one stage."""
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        return directory


def local(*command: str | Path, **config: object) -> dict[str, object]:
    return {"local": {"command": [str(word) for word in command], "config": config}}


def catalog(directory: Path, capture: object, materialization: object) -> Path:
    """Write a catalog of one capture and one materialization, either of them perhaps missing."""
    spec: dict[str, object] = {"collections": {"bench/events": {"schema": SCHEMA, "key": KEY}}}
    if capture:
        spec["captures"] = {"bench/capture": capture}
    if materialization:
        spec["materializations"] = {"bench/materialization": materialization}
    path = directory / "flow.yaml"
    path.write_text(json.dumps(spec))
    return path


def source(bench: Bench) -> dict[str, object]:
    config = {"streams": [{"name": "events", "url": bench.url}]}
    binding = {"resource": {"stream": "events"}, "target": "bench/events"}
    return {"endpoint": local("source-http", **config), "bindings": [binding]}


def replayed(bench: Bench) -> dict[str, object]:
    binding = {"resource": {"name": "events"}, "target": "bench/events"}
    command = [sys.executable, HERE / "replay.py", "source", bench.captured]
    return {"endpoint": local(*command), "bindings": [binding]}


def sqlite(directory: Path) -> dict[str, object]:
    binding = {"resource": {"table": "events"}, "source": "bench/events"}
    return {
        "endpoint": local("materialize-sqlite", path=str(directory / "out.db")),
        "bindings": [binding],
    }


def nowhere() -> dict[str, object]:
    binding = {"resource": {"name": "events"}, "source": "bench/events"}
    return {
        "endpoint": local(sys.executable, HERE / "replay.py", "sink"),
        "bindings": [binding],
        # Like the kit's connectors, it doesn't read them.
        "shards": {"flags": {"packed-values": "false"}},
    }


def run(path: Path) -> Measured:
    command = [BIN / "flow-local", "run", "--until-idle", "--source", path]
    return measured(command, environment={"LOG_LEVEL": "warn"})


# The stages.


def csv_alone(bench: Bench) -> Measured:
    code = f"import csv\nfor row in csv.reader(open({str(bench.data)!r}, newline='')): pass"
    return measured([sys.executable, "-c", code])


def executemany_alone(bench: Bench) -> Measured:
    """Insert rows that are ready into a table with the same columns and key."""
    return measured(
        [sys.executable, __file__, "--executemany", bench.fresh("limit"), str(bench.rows)]
    )


def executemany(directory: Path, rows: int) -> None:
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    with closing(sqlite3.connect(directory / "limit.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(
            f'CREATE TABLE events ("_meta/file" TEXT, "_meta/offset" INTEGER, {columns}, '
            'flow_published_at TEXT, "_meta/op" TEXT, flow_document TEXT, '
            'PRIMARY KEY ("_meta/file", "_meta/offset"))'
        )
        document = json.dumps({"title": "some text", "pad": "x" * 230})
        for start in range(0, rows, 50_000):
            ready = [
                ("f", n, n, n % 1000, 1.5, "quick brown fox", "2024-01-01T00:00:00Z", 1,
                 "Lisbon", n * 0.37, "2024-01-01", None, "2024-01-01T00:00:00Z", "c", document)
                for n in range(start, min(start + 50_000, rows))
            ]  # fmt: skip
            db.executemany(f"INSERT INTO events VALUES ({', '.join('?' * 15)})", ready)
            db.commit()


def connector_alone(bench: Bench) -> Measured:
    return measured([BIN / "source-http"], stdin=opening(bench))


def opening(bench: Bench) -> bytes:
    """Return the request that starts source-http on the data."""
    collection = {"name": "bench/events", "key": KEY, "writeSchema": SCHEMA}
    binding = {
        "resourceConfig": {"stream": "events"},
        "resourcePath": ["events"],
        "collection": collection,
        "stateKey": "events",
    }
    config = {"streams": [{"name": "events", "url": bench.url}]}
    spec = {"name": "bench/capture", "config": config, "bindings": [binding]}
    request = {"open": {"capture": spec, "version": "1", "range": FULL_RANGE, "state": {}}}
    return json.dumps(request).encode() + b"\n"


def capture_to_journal(bench: Bench) -> Measured:
    return run(catalog(bench.fresh("journal"), replayed(bench), None))


def journal_to_connector(bench: Bench) -> Measured:
    """Materialize the journal that the stage before left behind."""
    directory = bench.directory / "journal"
    path = catalog(directory, None, nowhere())
    reset = [BIN / "flow-local", "reset", "--source", path, "--yes", "bench/materialization"]
    subprocess.run(reset, check=False, capture_output=True)
    return run(path)


def end_to_end(bench: Bench) -> Measured:
    directory = bench.fresh("end-to-end")
    result = run(catalog(directory, source(bench), sqlite(directory)))
    with closing(sqlite3.connect(directory / "out.db")) as db:
        [(count,)] = db.execute("SELECT count(*) FROM events")
    assert count == bench.rows, f"{count} rows arrived, not {bench.rows}"
    return result


STAGES: dict[str, Callable[[Bench], Measured]] = {
    "limit: csv.reader alone": csv_alone,
    "limit: sqlite3 executemany alone": executemany_alone,
    "source-http → /dev/null": connector_alone,
    "runtime: capture → journal": capture_to_journal,
    "runtime: journal → connector": journal_to_connector,
    "HTTP CSV → SQLite, end to end": end_to_end,
}


@contextmanager
def served(data: Path) -> Iterator[str]:
    """Serve a file from a process of its own; yields its URL."""
    options = ["0", "--bind", "127.0.0.1", "-d", str(data.parent)]
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split(b"port ")[1].split()[0].decode()
        yield f"http://127.0.0.1:{port}/{data.name}"
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


@contextmanager
def prepared(rows: int) -> Iterator[Bench]:
    """Make the data, serve it, and record what source-http says of it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        data = directory / "www" / "events.csv"
        data.parent.mkdir()
        subprocess.run([sys.executable, HERE / "events_csv.py", str(rows), data], check=True)
        with served(data) as url:
            bench = Bench(directory, rows, url)
            output = directory / "output.jsonl"
            measured([BIN / "source-http"], stdin=opening(bench), stdout=output)
            with output.open("rb") as said, bench.captured.open("wb") as kept:
                kept.writelines(line for line in said if line.startswith(b'{"captured"'))
            output.unlink()
            yield bench


def report(bench: Bench, results: dict[str, list[Measured]]) -> str:
    """Return the table of medians."""
    size, rounds = bench.data.stat().st_size / 1e6, max(map(len, results.values()))
    lines = [
        f"{bench.rows:,} rows of 10 columns, {size:.0f} MB of CSV; medians of {rounds} rounds",
        "",
        "| stage | rows/s | CPU s | peak RSS of each process, MB |",
        "|---|---:|---:|---|",
    ]
    for name, runs in results.items():
        rate = bench.rows / statistics.median(each.wall_s for each in runs)
        cpu = statistics.median(each.cpu_s for each in runs)
        names = sorted({process for each in runs for process in each.peaks_mb})
        peaks = ", ".join(
            f"{process} {max(each.peaks_mb.get(process, 0) for each in runs):.0f}"
            for process in names
        )
        lines.append(f"| {name} | {rate:,.0f} | {cpu:.1f} | {peaks} |")
    return "\n".join(lines)


def write(table: str) -> None:
    """Put the table between the marks in README.md."""
    readme = HERE / "README.md"
    text = readme.read_text()
    head, rest = text.split("<!-- results -->\n", 1)
    _, tail = rest.split("<!-- end of results -->", 1)
    stamp = time.strftime("%Y-%m-%d")
    readme.write_text(
        f"{head}<!-- results -->\n{stamp}, two cores; {table}\n<!-- end of results -->{tail}"
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--executemany", nargs=2)
    options = parser.parse_args()
    if options.executemany:
        executemany(Path(options.executemany[0]), int(options.executemany[1]))
        return
    stages = {
        n: s for n, s in STAGES.items() if not options.only or any(o in n for o in options.only)
    }
    with prepared(options.rows) as bench:
        results: dict[str, list[Measured]] = {name: [] for name in stages}
        for _ in range(options.rounds):
            for name, stage in stages.items():
                results[name].append(partial(stage, bench)())
                last = results[name][-1]
                sys.stderr.write(
                    f"{name}: {bench.rows / last.wall_s:,.0f} rows/s {last.peaks_mb}\n"
                )
        table = report(bench, results)
    sys.stdout.write(table + "\n")
    if options.write:
        write(table)


if __name__ == "__main__":
    csv.field_size_limit(1 << 20)
    main()
