"""Specs and states that were written for the incumbent go on here, as they are.

`incumbent/` holds configs and a state in the shapes that it writes; `scanned` of the state is its
encoding of the key (1900, 'GA').
"""

from pathlib import Path

import msgspec
import pytest

from estuary_cdk.config import parse
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.postgres import AwsIam
from source_postgres.config import Config

INCUMBENT = Path(__file__).parent / "incumbent"
STATES = ("AL", "AZ", "CA", "FL", "GA", "HI", "NY")


def written(name: str) -> dict:
    return msgspec.json.decode((INCUMBENT / name).read_bytes())


def here(source, config: dict) -> dict:
    """Return a config with the address of a server of ours."""
    slot = {"slotName": f"slot_{source.name}"}
    return config | {
        "address": source.cluster.address,
        "user": "postgres",
        "database": source.name,
        "advanced": config["advanced"] | slot,
    }


@pytest.fixture
def tables(source):
    source.run(
        "create schema test",
        "create table test.complexdataset (year int, state text, population int, "
        "primary key (year, state))",
        "create table test.active (id int primary key, v int)",
        "create table test.removed (id int primary key)",
        "insert into test.active values (1, 0), (2, 0), (3, 0)",
        *(
            f"insert into test.complexdataset values ({year}, '{state}', 1)"
            for year in (1900, 1920)
            for state in STATES
        ),
        "create publication flow_publication for table test.complexdataset, test.active "
        "with (publish_via_partition_root = true)",
    )
    return source


@pytest.mark.parametrize("name", ["config.json", "config_legacy.json"])
async def test_a_config_works_unedited(tables, name):
    source = tables
    config = here(source, written(name))
    found = await source.runtime.discover(config)
    streams = {msgspec.json.decode(each.resource_config)["stream"] for each in found}
    assert streams == (
        {"complexdataset"} if name == "config.json" else {"active", "complexdataset"}
    )
    built = await source.runtime.build(config)
    session = await source.caught_up(built)
    assert len(session.of(len(found) - 1)) == 2 * len(STATES)


def test_a_config_with_an_identity_of_a_cloud_is_read():
    raw = (INCUMBENT / "config_iam.json").read_bytes()
    config = parse(Config, raw, "endpoint config")
    assert isinstance(config.credentials, AwsIam)
    assert config.network_tunnel is not None
    assert config.network_tunnel.ssh_forwarding is not None
    assert config.network_tunnel.ssh_forwarding.login == ("me", "bastion.example.com", 2222)
    with pytest.raises(ConfigError, match="aws_regoin: unknown key"):
        parse(Config, raw.replace(b"aws_region", b"aws_regoin"), "endpoint config")


async def test_a_state_goes_on_without_a_new_backfill(tables):
    source = tables
    config = here(source, written("config.json"))
    config["discoveryFilters"] = {}
    built = await source.runtime.build(config)
    names = [binding.resource_path[1] for binding in built.bindings]
    assert [binding.state_key for binding in built.bindings] == [f"test%2F{n}" for n in names]
    made = "select lsn::text from pg_create_logical_replication_slot('{}', 'pgoutput')"
    [[position]] = source.run(made.format(config["advanced"]["slotName"]))
    source.run("update test.active set v = 1 where id = 2", "delete from test.active where id = 3")
    source.run(
        # The scan has yet to come to the first, and has passed the second.
        "update test.complexdataset set population = 2 where year = 1920 and state = 'NY'",
        "update test.complexdataset set population = 2 where year = 1900 and state = 'AL'",
    )
    session = await source.caught_up(built, written("state.json") | {"cursor": position})
    active = session.of(names.index("active"))
    assert [(doc["_meta"]["op"], doc["id"]) for doc in active] == [("u", 2), ("d", 3)]
    scanned = session.of(names.index("complexdataset"))
    snapshot = [doc for doc in scanned if doc["_meta"]["source"].get("snapshot")]
    expected = [(1900, state) for state in STATES if state > "GA"]
    expected += [(1920, state) for state in STATES]
    assert [(doc["year"], doc["state"]) for doc in snapshot] == expected
    changes = [doc for doc in scanned if doc not in snapshot]
    assert [(doc["year"], doc["state"]) for doc in changes] == [(1900, "AL")]
    assert session.state["bindingStateV1"]["test%2Fcomplexdataset"]["mode"] == "Active"
    again = await source.caught_up(built, session.state)
    assert again.documents == []


async def test_a_state_whose_slot_is_gone_isnt_gone_on_with(tables):
    source = tables
    config = here(source, written("config.json"))
    built = await source.runtime.build(config)
    with pytest.raises(ConfigError, match="does not exist any more"):
        await source.caught_up(built, written("state.json"))


async def test_a_resource_of_the_incumbent_is_read(tables):
    source = tables
    config = here(source, written("config.json"))
    built = await source.runtime.build(config)
    resource = {
        "namespace": "test",
        "stream": "complexdataset",
        "mode": "Normal",
        "priority": -1,
        "primary_key": ["year"],
        "syncMode": "incremental",
        "advanced": {"additional_backfill_filter": "year > 1910"},
    }
    binding = msgspec.structs.replace(
        built.bindings[0], resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    session = await source.caught_up(msgspec.structs.replace(built, bindings=[binding]))
    assert {doc["year"] for doc in session.of(0)} == {1920}
