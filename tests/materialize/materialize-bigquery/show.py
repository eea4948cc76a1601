"""Prints a table of the dataset: its columns by name, then its rows as JSON of the service."""

import json
import os
import sys

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

DATASET = "acme.flow_tests"
COLUMNS = (
    "SELECT column_name, data_type, is_nullable FROM `{}`.INFORMATION_SCHEMA.COLUMNS "
    "WHERE table_name = '{}'"
)


def lines(table):
    """Yield the table's columns, an empty line, and its rows."""
    client = bigquery.Client(
        project="acme",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": os.environ["ADDRESS"]},
        location="US",
    )
    for column, kind, nullable in sorted(
        tuple(row.values()) for row in client.query_and_wait(COLUMNS.format(DATASET, table))
    ):
        yield shown({"Name": column, "Type": kind, "Nullable": nullable == "YES"})
    yield ""
    rows = client.query_and_wait(f"SELECT * FROM `{DATASET}.{table}`")
    yield from sorted(shown(dict(row.items())) for row in rows)


def shown(row):
    return json.dumps(row, ensure_ascii=False, default=str)


print(*lines(sys.argv[1]), sep="\n")
