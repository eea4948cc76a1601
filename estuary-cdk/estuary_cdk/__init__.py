"""Write captures and materializations for Estuary Flow.

What every connector needs is here; what captures need is in `estuary_cdk.capture`, what
materializations need in `estuary_cdk.materialize`, building blocks are in `estuary_cdk.kits`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estuary_cdk.config import EndpointConfig, ResourceConfig, Secret, Settings, setting
    from estuary_cdk.document import Document, Meta
    from estuary_cdk.errors import (
        ConfigError,
        ContractError,
        DataError,
        Fenced,
        ProtocolError,
        TransientError,
    )
else:
    from estuary_cdk.exports import exports

    __getattr__ = exports(
        __name__,
        {
            "config": ("EndpointConfig", "ResourceConfig", "Secret", "Settings", "setting"),
            "document": ("Document", "Meta"),
            "errors": (
                "ConfigError",
                "ContractError",
                "DataError",
                "Fenced",
                "ProtocolError",
                "TransientError",
            ),
        },
    )

__all__ = [
    "ConfigError",
    "ContractError",
    "DataError",
    "Document",
    "EndpointConfig",
    "Fenced",
    "Meta",
    "ProtocolError",
    "ResourceConfig",
    "Secret",
    "Settings",
    "TransientError",
    "setting",
]
