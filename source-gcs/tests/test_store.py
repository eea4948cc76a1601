"""A bucket keeps what every store promises."""

import asyncio

import pytest

from estuary_cdk.kits.files.store_contract import PROMISES, StoreSubject
from source_gcs.config import Config
from source_gcs.store import opened


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, task, bucket, monkeypatch):
    monkeypatch.setattr("source_gcs.store.PAGE_FILES", 2)

    async def put(path, content):
        await asyncio.to_thread(bucket.blob(path).upload_from_string, content)

    async def remove(path):
        await asyncio.to_thread(bucket.blob(path).delete)

    async with opened(Config.model_validate(task.config)) as store:
        await promise(StoreSubject(store, put, remove))
