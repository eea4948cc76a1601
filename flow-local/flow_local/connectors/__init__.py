"""Connectors: starting them, speaking the runtime's side of the protocol, ending them."""

from flow_local.connectors.conversation import (
    CAPTURE,
    MATERIALIZE,
    CapturedBatch,
    Connector,
    Conversation,
    conversation,
)
from flow_local.connectors.endpoint import Endpoint, image, local
from flow_local.connectors.events import LogEvent
from flow_local.connectors.failures import ConnectorFailed
from flow_local.connectors.process import OnEvent
from flow_local.connectors.spares import Spares, spares
from flow_local.connectors.unary import (
    apply_capture,
    apply_materialization,
    capture_spec,
    discover,
    materialization_spec,
    validate_capture,
    validate_materialization,
)

__all__ = [
    "CAPTURE",
    "MATERIALIZE",
    "CapturedBatch",
    "Connector",
    "ConnectorFailed",
    "Conversation",
    "Endpoint",
    "LogEvent",
    "OnEvent",
    "Spares",
    "apply_capture",
    "apply_materialization",
    "capture_spec",
    "conversation",
    "discover",
    "image",
    "local",
    "materialization_spec",
    "spares",
    "validate_capture",
    "validate_materialization",
]
