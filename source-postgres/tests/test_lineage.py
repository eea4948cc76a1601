"""A position counts only in the log that it was read from."""

import pytest

from estuary_cdk.errors import ConfigError
from source_postgres.config import Config
from source_postgres.lineage import Lineage, read_lineage

NOW = Lineage("7", 3, {1: 100, 2: 200})


@pytest.mark.parametrize(
    ("recorded", "position"),
    [("", 999), ("7/", 999), ("7/3", 999), ("7/2", 200), ("7/1", 100), ("7/1", 5)],
)
def test_a_position_of_the_servers_past_is_good(recorded, position):
    NOW.judge(recorded, position)


@pytest.mark.parametrize(
    ("recorded", "position", "why"),
    [
        ("8/3", 5, "from another server"),
        ("8/", 5, "from another server"),
        ("7/2", 201, "was promoted at 0/C8"),
        ("7/1", 101, "was promoted at 0/64"),
        ("7/4", 5, "timeline 4, which isn't its past"),
        ("7/x", 5, "which isn't its past"),
    ],
)
def test_a_position_of_another_log_is_lost(recorded, position, why):
    with pytest.raises(ConfigError, match=why):
        NOW.judge(recorded, position)


def test_a_standbys_timeline_is_not_recorded_because_it_changes():
    assert Lineage("7", 3, {}).name == "7/3"
    assert Lineage("7", 3, {}, standby=True).name == "7/"


def test_a_server_tells_its_lineage(any_source):
    lineage = read_lineage(Config.model_validate(any_source.config))
    identifier = "select system_identifier::text from pg_control_system()"
    assert any_source.run(identifier) == [(lineage.system,)]
    assert lineage.timeline == 1
    assert not lineage.ends


async def test_the_log_of_another_server_isnt_gone_on_with(source):
    source.run("create table t (id int primary key)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    assert first.state["server"] == read_lineage(Config.model_validate(source.config)).name
    with pytest.raises(ConfigError, match="it was read from another server"):
        await source.caught_up(built, first.state | {"server": "123/1"})
