"""Built captures: what Validate says of each binding, put together with its collection."""

from collections.abc import Mapping

from msgspec import Raw

from estuary_cdk.protocol import capture as wire
from estuary_cdk.protocol.flow import CollectionSpec
from flow_local import connectors
from flow_local.build.lineage import Last, check_paths, inactive
from flow_local.build.state_keys import state_key
from flow_local.catalog import Capture, CaptureBinding
from flow_local.connectors import Connector


async def built_capture(
    capture: Capture,
    collections: Mapping[str, CollectionSpec],
    connector: Connector,
    last: Last,
) -> wire.CaptureSpec:
    """Validate a capture with its connector and build it; disabled bindings are left out."""
    bindings = [binding for binding in capture.bindings if not binding.disable]
    config = Raw(capture.endpoint.config)
    applied = last.built(wire.CaptureSpec)
    answer = await connectors.validate_capture(
        connector,
        wire.Validate(
            name=capture.name,
            connector_type=connector.endpoint.connector_type,
            config=config,
            bindings=[
                wire.ValidateBinding(
                    resource_config=Raw(binding.resource),
                    collection=collections[binding.target],
                    backfill=binding.backfill,
                )
                for binding in bindings
            ],
            last_capture=applied,
            last_version=last.version,
        ),
    )
    paths = [binding.resource_path for binding in answer.bindings]
    check_paths(capture.name, paths)
    return wire.CaptureSpec(
        name=capture.name,
        connector_type=connector.endpoint.connector_type,
        config=config,
        bindings=[
            _built(binding, path, collections[binding.target])
            for binding, path in zip(bindings, paths, strict=True)
        ],
        interval_seconds=int(capture.interval.total_seconds()),
        inactive_bindings=inactive(
            (*applied.inactive_bindings, *applied.bindings) if applied else (), paths
        ),
    )


def _built(
    binding: CaptureBinding, path: list[str], collection: CollectionSpec
) -> wire.CaptureBinding:
    return wire.CaptureBinding(
        resource_config=Raw(binding.resource),
        resource_path=path,
        collection=collection,
        backfill=binding.backfill,
        state_key=state_key(path, binding.backfill),
    )
