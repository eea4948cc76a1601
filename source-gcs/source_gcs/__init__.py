"""Capture the files of a Google Cloud Storage bucket: each stream is a prefix, and followed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from estuary_cdk.kits.files import Files
from source_gcs.config import Config, selection, streams

if TYPE_CHECKING:
    from source_gcs.store import GcsStore


@asynccontextmanager
async def opened(config: Config) -> AsyncGenerator["GcsStore"]:
    """Give the store of a config's bucket."""
    # Only now: what only tells its settings needs no client.
    from source_gcs import store

    async with store.opened(config) as found:
        yield found


capture = Files(
    config=Config,
    opened=opened,
    streams=streams,
    selection=selection,
    ascending=lambda config: config.advanced.ascending_keys,
    docs="https://go.estuary.dev/source-gcs",
).capture()

__all__ = ["capture"]
