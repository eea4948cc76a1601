"""Capture the files of an SFTP server: each stream is a directory, whose files are followed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from estuary_cdk.kits.files import Files
from source_sftp.config import Config, selection, streams

if TYPE_CHECKING:
    from source_sftp.store import SftpStore


@asynccontextmanager
async def opened(config: Config) -> AsyncGenerator["SftpStore"]:
    """Give the store of a config's server."""
    # Only now: what only tells its settings needs no SSH.
    from source_sftp import store

    async with store.opened(config) as found:
        yield found


capture = Files(
    config=Config,
    opened=opened,
    streams=streams,
    selection=selection,
    ascending=lambda config: config.advanced.ascending_keys,
    docs="https://go.estuary.dev/source-sftp",
).capture()

__all__ = ["capture"]
