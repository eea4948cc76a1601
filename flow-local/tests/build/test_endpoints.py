import pytest

from flow_local.build.endpoints import packs_values
from flow_local.catalog import ImageEndpoint, LocalEndpoint
from flow_local.catalog.nodes import Location

HERE = Location("flow.yaml", 1, 1)


@pytest.mark.parametrize(
    ("command", "packs"),
    [
        (("python", "theirs.py"), True),
        (("python", "-m", "theirs"), True),
        (("materialize-sqlite",), False),
        (("bin/materialize-sqlite",), False),
        (("python", "-X", "dev", "-m", "materialize_sqlite"), False),
    ],
)
def test_all_but_installed_connectors_of_the_kit_get_packed_values(command, packs):
    endpoint = LocalEndpoint(command, b"{}", {}, protobuf=False, location=HERE)
    assert packs_values(endpoint, {}) is packs
    assert packs_values(endpoint, {"packed-values": "true"})
    assert not packs_values(endpoint, {"packed-values": "false"})


def test_images_get_packed_values():
    assert packs_values(ImageEndpoint("ghcr.io/x/y:v1", b"{}", HERE), {})
