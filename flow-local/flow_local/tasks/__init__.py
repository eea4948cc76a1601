"""Tasks: built specs in motion, one transaction loop for each kind."""

from flow_local.tasks.capture import run_capture
from flow_local.tasks.definitions import (
    CaptureTask,
    MaterializationTask,
    Run,
    SchemaWidened,
    Task,
    World,
)
from flow_local.tasks.ending import Ending
from flow_local.tasks.materialization import run_materialization
from flow_local.tasks.progress import BindingProgress, TaskProgress

__all__ = [
    "BindingProgress",
    "CaptureTask",
    "Ending",
    "MaterializationTask",
    "Run",
    "SchemaWidened",
    "Task",
    "TaskProgress",
    "World",
    "run_capture",
    "run_materialization",
]
