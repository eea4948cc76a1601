"""How a resource config names its table."""

import pytest

from estuary_cdk.config import ResourceConfig, setting
from estuary_cdk.errors import ConfigError
from estuary_cdk.materialize.materialization import marked_delta_updates, marked_path


class Resource(ResourceConfig):
    table: str = setting(title="Table", collection_name=True)
    namespace: str = setting("", title="Schema", schema_name=True)
    delta: bool = setting(False, title="Delta Updates", delta_updates=True)


class Bare(ResourceConfig):
    table: str = setting("", title="Table", collection_name=True)


def test_the_path_is_the_schema_where_set_and_the_table():
    assert marked_path(None, Resource(table="t", namespace="s")) == ("s", "t")
    assert marked_path(None, Resource(table="t")) == ("t",)


def test_a_table_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="names none"):
        marked_path(None, Bare())


def test_updates_are_standard_unless_marked_otherwise():
    assert marked_delta_updates(None, Resource(table="t", delta=True))
    assert not marked_delta_updates(None, Resource(table="t"))
    assert not marked_delta_updates(None, Bare())
