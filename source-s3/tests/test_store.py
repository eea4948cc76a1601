"""A bucket keeps what every store promises."""

import asyncio

import pytest

from estuary_cdk.kits.files.store_contract import PROMISES, StoreSubject
from source_s3.config import Config
from source_s3.store import opened


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, bucket, monkeypatch):
    monkeypatch.setattr("source_s3.store.PAGE_FILES", 2)

    async def put(path, content):
        await asyncio.to_thread(bucket.put, path, content)

    async def remove(path):
        await asyncio.to_thread(bucket.remove, path)

    async with opened(Config.model_validate(bucket.config)) as store:
        await promise(StoreSubject(store, put, remove))
