"""Write captures: programs that read a source and emit its documents into Flow collections.

Two levels. `Source` with `Snapshot`, `Windowed`, `Log` and `Paged` streams is for APIs: the author
says how to read one window or page, the kit does the rest. `Capture` is below it, for databases,
files and whatever has its own idea of progress: the author writes `pull`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estuary_cdk.capture.connector import (
        Application,
        Capture,
        DiscoveredResource,
        Validation,
    )
    from estuary_cdk.capture.pull import Binding, Pull, Transaction
    from estuary_cdk.capture.schedules import Cron, Duration
    from estuary_cdk.capture.source import Source
    from estuary_cdk.capture.state import BindingState, NoState, Patch
    from estuary_cdk.capture.streams import (
        Batch,
        Checkpoint,
        Log,
        Paged,
        Snapshot,
        Stream,
        Windowed,
    )
    from estuary_cdk.capture.windows import Window
else:
    from estuary_cdk.exports import exports

    __getattr__ = exports(
        __name__,
        {
            "connector": ("Application", "Capture", "DiscoveredResource", "Validation"),
            "pull": ("Binding", "Pull", "Transaction"),
            "schedules": ("Cron", "Duration"),
            "source": ("Source",),
            "state": ("BindingState", "NoState", "Patch"),
            "streams": ("Batch", "Checkpoint", "Log", "Paged", "Snapshot", "Stream", "Windowed"),
            "windows": ("Window",),
        },
    )

__all__ = [
    "Application",
    "Batch",
    "Binding",
    "BindingState",
    "Capture",
    "Checkpoint",
    "Cron",
    "DiscoveredResource",
    "Duration",
    "Log",
    "NoState",
    "Paged",
    "Patch",
    "Pull",
    "Snapshot",
    "Source",
    "Stream",
    "Transaction",
    "Validation",
    "Window",
    "Windowed",
]
