"""Capture the files of a directory: each stream is a prefix, whose files are followed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from estuary_cdk.kits.files import Files
from estuary_cdk.kits.files.local_store import LocalStore
from source_files.config import Config, selection, streams


@asynccontextmanager
async def opened(config: Config) -> AsyncGenerator[LocalStore]:
    """Give the store of a config's directory."""
    yield LocalStore(config.directory)


capture = Files(
    config=Config,
    opened=opened,
    streams=streams,
    selection=selection,
    ascending=lambda config: config.advanced.ascending_keys,
    docs="https://go.estuary.dev/source-files",
).capture()

__all__ = ["capture"]
