"""Prints a table of the database: its columns by name, then its rows by their key."""

import base64
import json
import os
import sqlite3
import sys


def lines(table):
    """Yield the table's columns, an empty line, and its rows."""
    database = sqlite3.connect(os.environ["DATABASE"])
    columns = database.execute("select * from pragma_table_info(?)", (table,)).fetchall()
    for _, name, kind, required, _, key in sorted(columns, key=lambda column: column[1]):
        yield shown({"Name": name, "Type": kind, "Nullable": not required, "Key": key})
    yield ""
    quoted = '"' + table.replace('"', '""') + '"'
    names = [column[1] for column in columns]
    rows = database.execute(f"select * from {quoted}")
    yield from sorted(shown(dict(zip(names, row, strict=True))) for row in rows)


def shown(row):
    return json.dumps(row, ensure_ascii=False, default=lambda binary: {"base64": encoded(binary)})


def encoded(binary):
    return base64.b64encode(binary).decode()


print(*lines(sys.argv[1]), sep="\n")
