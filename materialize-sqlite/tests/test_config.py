"""Configs that can be used, and what is said of those that can't."""

import pytest

from estuary_cdk.config import parse
from estuary_cdk.errors import ConfigError
from materialize_sqlite.config import Config, Resource


def test_a_path_is_all_that_is_needed():
    config = parse(Config, b'{"path":"data.db"}', "endpoint config")
    assert (config.path, config.hard_delete) == ("data.db", False)


def test_hard_deletes_are_asked_for_by_estuarys_name():
    assert parse(Config, b'{"path":"data.db","hardDelete":true}', "endpoint config").hard_delete


@pytest.mark.parametrize("path", ["", " ", ":memory:", "a\\u0000b"])
def test_a_path_names_a_file(path):
    with pytest.raises(ConfigError, match=r"/path: .*must name a file"):
        parse(Config, f'{{"path":"{path}"}}'.encode(), "endpoint config")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "character that shows"),
        ("sqlite_x", "to itself"),
        ("SQLite_x", "to itself"),
        ("Flow_Checkpoints_V1", "its checkpoints"),
        ("a\\u0000", "zero character"),
    ],
)
def test_names_that_sqlite_or_we_need_are_refused(table, reason):
    with pytest.raises(ConfigError, match=rf"/table: .*{reason}"):
        parse(Resource, f'{{"table":"{table}"}}'.encode(), "resource config")
