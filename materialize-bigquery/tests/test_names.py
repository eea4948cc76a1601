"""Names of fields as columns, and what of them stays apart."""

import pytest

from materialize_bigquery.names import COLUMN_CHARS_MAX, column_name, staged_prefix, table_name


@pytest.mark.parametrize(
    ("name", "column"),
    {
        "plain": "plain",
        "_meta/op": "_meta_op",
        "back`tick": "back_tick",
        "back\\slash": "back_slash",
        "1digit": "_1digit",
        "日本語": "日本語",
        "a-b c": "a-b_c",
        "": "_",
        "$1": "_1",
        "_PARTITIONTIME": "f_PARTITIONTIME",
        "_table_x": "f_table_x",
    }.items(),
)
def test_a_column_has_a_name_that_the_service_takes(name, column):
    assert column_name(name) == column


def test_long_names_that_differ_at_their_end_stay_apart():
    one, two = column_name("x" * 400 + "1"), column_name("x" * 400 + "2")
    assert one != two
    assert len(one) == len(two) == COLUMN_CHARS_MAX


def test_a_table_has_letters_of_ascii():
    assert table_name("tests/日本 1-2_3`") == "tests____1-2_3_"
    assert len(table_name("x" * 2000)) == 1024


def test_what_shards_and_bindings_stage_is_called_differently():
    names = {
        staged_prefix(task, shard, key)
        for task in ("a", "b")
        for shard in ("00000000-7fffffff", "80000000-ffffffff")
        for key in ("t.v0", "t.v1")
    }
    assert len(names) == 8
    assert all(name.startswith("flow_staged_") and name.endswith("_") for name in names)
