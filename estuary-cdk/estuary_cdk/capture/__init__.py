"""Write captures: programs that read a source and emit its documents into Flow collections."""

from estuary_cdk.capture.connector import (
    Application,
    Capture,
    DiscoveredResource,
    Validation,
)
from estuary_cdk.capture.pull import Binding, Pull, Transaction
from estuary_cdk.capture.state import BindingState, NoState, Patch

__all__ = [
    "Application",
    "Binding",
    "BindingState",
    "Capture",
    "DiscoveredResource",
    "NoState",
    "Patch",
    "Pull",
    "Transaction",
    "Validation",
]
