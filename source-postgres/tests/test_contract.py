"""The capture keeps what every capture promises."""

import pytest

from estuary_cdk.testing.capture_contract import PROMISES, CaptureSubject
from source_postgres import capture

PASSWORD = "correct horse battery staple"


@pytest.fixture
def subject(source, monkeypatch) -> CaptureSubject:
    """A database with a table of each kind: with keys that do and don't sort, and without."""
    monkeypatch.setenv("SHUTDOWN_AFTER_POLLING", "yes")
    source.run(
        "create table numbered (id int primary key, v numeric, at timestamptz)",
        "insert into numbered select i, i / 7.0, 'epoch' from generate_series(1, 25) i",
        "create table named (name text primary key, tags text[])",
        "insert into named select 'n' || i, array['a', null] from generate_series(1, 15) i",
        "create table log (line text)",
        "alter table log replica identity full",
        "insert into log select 'x' || i from generate_series(1, 5) i",
    )
    source.advanced["backfill_chunk_size"] = 10
    source.extra["credentials"] = {"auth_type": "UserPassword", "password": PASSWORD}
    return CaptureSubject(
        serve=capture.serve,
        config=source.config,
        refused={**source.config, "user": "a stranger"},
        secrets=[PASSWORD],
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, subject):
    await promise(subject)
