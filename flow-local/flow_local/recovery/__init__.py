"""What flow-local must not forget: one database per data directory, and the lock that guards it."""

from flow_local.recovery.database import Commit, Database, TaskRecord, opened
from flow_local.recovery.lock import locked
from flow_local.recovery.log import Recovery, recovery

__all__ = ["Commit", "Database", "Recovery", "TaskRecord", "locked", "opened", "recovery"]
