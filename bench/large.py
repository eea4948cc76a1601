"""A 2 GB CSV over HTTP into SQLite: how much memory does each process need at the most?

    .venv/bin/python bench/large.py [--gigabytes 2]

Needs about four times the file's size on the disk: the file, the journal, the table, and its log.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from run import Bench, catalog, run, served, source, sqlite

ROW_BYTES = 1024
BLOCK_ROWS = 4096


def write_csv(path: Path, size: int) -> int:
    """Write rows of ten columns, about a kilobyte each; return how many."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("id,qty,price,title,created_at,active,city,score,day,note\n")
        while file.tell() < size:
            lines = []
            for i in range(rows, rows + BLOCK_ROWS):
                head = f"{i},{i % 1000},{i % 977 / 8},title {i},2024-01-01T00:00:00Z,true,Osaka"
                tail = f",{i / 7:.6f},2024-01-01,"
                note = f'"note, {i} '.ljust(ROW_BYTES - len(head) - len(tail) - 2, "x") + '"'
                lines.append(head + tail + note + "\n")
            file.write("".join(lines))
            rows += BLOCK_ROWS
    return rows


def main() -> None:
    """Make the file, run the pipeline, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        data = directory / "www" / "events.csv"
        data.parent.mkdir()
        rows = write_csv(data, int(options.gigabytes * 1e9))
        size = data.stat().st_size
        with served(data) as url:
            bench = Bench(directory, rows, url)
            place = bench.fresh("large")
            result = run(catalog(place, source(bench), sqlite(place)))
            with closing(sqlite3.connect(place / "out.db")) as db:
                [(count,)] = db.execute("SELECT count(*) FROM events")
        assert count == rows, f"{count} rows arrived, not {rows}"
    told = {
        "gigabytes": round(size / 1e9, 2),
        "rows": rows,
        "rows_per_s": round(rows / result.wall_s),
        "peak_rss_mb": {process: round(peak) for process, peak in result.peaks_mb.items()},
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
