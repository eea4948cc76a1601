"""From an endpoint of the catalog to a way to start its connector."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError
from flow_local import connectors
from flow_local.catalog import Endpoint, ImageEndpoint, LocalEndpoint

PACKED_VALUES_FLAG: Final = "packed-values"


def packs_values(connector_type: str, flags: Mapping[str, str]) -> bool:
    """Tell whether a task's connector gets packed values besides plain ones.

    Images do, since most of those that aren't ours read nothing else; local connectors don't. The
    task's `shards: {flags: {packed-values: "true"}}` decides where it is given.
    """
    return flags.get(PACKED_VALUES_FLAG, str(connector_type == "IMAGE").lower()) == "true"


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
