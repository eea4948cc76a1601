"""The resource config of a source's streams."""

from estuary_cdk.capture.schedules import Cron, Duration
from estuary_cdk.config import ResourceConfig, setting


class StreamResource(ResourceConfig):
    """Which stream a binding captures, and how often."""

    name: str = setting(title="Name", description="Name of the stream.")
    interval: Duration | None = setting(
        None,
        title="Interval",
        description="How often to look for changes: an ISO 8601 duration or one such as 5m.",
    )
    schedule: Cron = setting(
        "",
        title="Schedule",
        description="When to read everything again: a cron expression in UTC. "
        "Streams that read everything every time follow it in place of the interval.",
    )
