"""From an endpoint of the catalog to a way to start its connector."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError
from flow_local import connectors
from flow_local.catalog import Endpoint, ImageEndpoint, LocalEndpoint

PACKED_VALUES_FLAG: Final = "packed-values"
CONNECTORS_GROUP: Final = "estuary_cdk.connectors"


def packs_values(endpoint: Endpoint, flags: Mapping[str, str]) -> bool:
    """Tell whether a materialization's connector gets packed values besides plain ones.

    Flow sends the one or the other, as its version is, and many connectors read packed ones alone.
    So all get both, but for installed connectors of our kit, which don't look at them. The task's
    `shards: {flags: {packed-values: "false"}}`, or "true", decides where it is given.
    """
    if PACKED_VALUES_FLAG in flags:
        return flags[PACKED_VALUES_FLAG] == "true"
    return not (isinstance(endpoint, LocalEndpoint) and _is_of_our_kit(endpoint.command))


def _is_of_our_kit(command: Sequence[str]) -> bool:
    installed = entry_points(group=CONNECTORS_GROUP)
    if Path(command[0]).name in installed.names:
        return True
    modules = {point.value for point in installed}
    return any(flag == "-m" and name in modules for flag, name in pairwise(command))


def launchable(endpoint: Endpoint) -> connectors.Endpoint:
    """Return how to start an endpoint's connector.

    Local commands are looked up beside the Python that runs us first: connectors installed with
    flow-local are found without an activated environment. Raises ConfigError for what can't be
    started here.
    """
    if isinstance(endpoint, ImageEndpoint):
        return connectors.image(endpoint.image)
    if isinstance(endpoint, LocalEndpoint):
        if endpoint.protobuf:
            raise ConfigError(
                f"can't launch local connector {endpoint.command[0]!r}: it speaks protobuf",
                hint="flow-local speaks the JSON codec; most connectors can too",
            )
        path = endpoint.env.get("PATH", os.environ.get("PATH", os.defpath))
        beside = f"{Path(sys.executable).parent}{os.pathsep}{path}"
        return connectors.local(endpoint.command, {**endpoint.env, "PATH": beside})
    raise ConfigError(
        f"can't run a {endpoint.variant} endpoint here: Dekaf is served by Estuary's platform",
        hint="leave this task to Flow, and name the others with --name",
    )
