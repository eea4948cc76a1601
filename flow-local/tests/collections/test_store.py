import asyncio

import pytest

from flow_local.collections import Collections
from flow_local.collections.store import directory_of


@pytest.mark.parametrize("name", ["../../etc", "a/../../b", "a/./b", ".../x", "a//b", "ü/x y"])
def test_no_name_leads_out_of_the_data_directory(tmp_path, name):
    directory = directory_of(tmp_path, name)
    assert directory.resolve().is_relative_to((tmp_path / "collections").resolve())
    assert ".." not in directory.relative_to(tmp_path).parts


def test_a_collection_below_another_is_apart_from_it(tmp_path):
    collections = Collections(tmp_path, {})
    for name in ("acme/a", "acme/a/b"):
        journal = collections.journal(name)
        journal.append(name.encode() + b"\n")
        collections.commit({name: journal.sync()})
    again = Collections(tmp_path, {"acme/a": 7, "acme/a/b": 9})
    assert again.reader("acme/a").read(again.end("acme/a")) == b"acme/a\n"
    assert again.reader("acme/a/b").read(again.end("acme/a/b")) == b"acme/a/b\n"


async def test_a_commit_wakes_who_waits_and_is_never_missed(tmp_path):
    collections = Collections(tmp_path, {})
    version = collections.changes.version
    waiting = asyncio.ensure_future(collections.changes.since(version))
    await asyncio.sleep(0)
    assert not waiting.done()
    collections.commit({})
    await waiting
    await collections.changes.since(version)  # Happened before we waited.
