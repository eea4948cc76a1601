"""A library that isn't installed is told with what needs it and how to get it."""

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files.libraries import library


def test_a_library_that_is_missing_is_told_with_its_remedy():
    with pytest.raises(ConfigError, match=r"can't read Parquet files: .*'no_such'.*pip install"):
        library("no_such.thing", "Parquet files")
    assert library("zlib", "anything").crc32(b"") == 0
