"""Running tasks together: supervision, restarts, status, and the data directory they share."""

from flow_local.supervisor.directory import data_directory
from flow_local.supervisor.restarts import Restarts
from flow_local.supervisor.status import BindingStatus, Board, TaskStatus
from flow_local.supervisor.supervise import Failure, Plan, supervise, until_stopped

__all__ = [
    "BindingStatus",
    "Board",
    "Failure",
    "Plan",
    "Restarts",
    "TaskStatus",
    "data_directory",
    "supervise",
    "until_stopped",
]
