"""Capture the files of an S3 bucket: each stream is a prefix, whose files are followed."""

from estuary_cdk.kits.files import Files
from source_s3.config import Config, selection, streams
from source_s3.notifications import notices
from source_s3.store import opened

capture = Files(
    config=Config,
    opened=opened,
    streams=streams,
    selection=selection,
    ascending=lambda config: config.advanced.ascending_keys,
    notices=notices,
    docs="https://go.estuary.dev/source-s3",
).capture()

__all__ = ["capture"]
