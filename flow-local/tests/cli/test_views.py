"""How a run looks while it goes on."""

import io

from rich.console import Console

from flow_local.cli.tables import lasting
from flow_local.cli.views import progress_table
from flow_local.supervisor import Board
from flow_local.tasks import BindingProgress, TaskProgress


def test_each_binding_is_shown_with_counts_rates_backlog_and_lag():
    bindings = [BindingProgress("acme/a"), BindingProgress("acme/b")]
    task = TaskProgress("acme/table", "materialization", bindings, "running")
    board = Board()
    board.tasks = [task, TaskProgress("acme/later", "materialization")]
    board.status(100.0)
    bindings[0].documents, bindings[0].bytes = 24_000, 3_000_000
    bindings[0].backlog_bytes = 1_500_000
    bindings[0].waiting_since_s = {0: 60.0, 1 << 31: 12.0}
    written = io.StringIO()
    Console(file=written, width=120).print(progress_table(board.status(102.0)))
    head, first, second, later = [line.split() for line in written.getvalue().splitlines()]
    names = "Task Collection Documents Bytes Docs/s Bytes/s Waiting Lag"
    assert head == names.split()
    told = "acme/table acme/a 24,000 3.0 MB 12,000 1.5 MB 1.5 MB 2 min running"
    assert first == told.split()
    assert second == ["acme/b", "0", "0", "B", "0", "0", "B"]
    assert later == ["acme/later", "waiting"]


def test_how_long_something_lasts_is_told_in_its_unit():
    told = [lasting(seconds) for seconds in (0.24, 59, 61, 7200, 200_000)]
    assert told == ["0.2 s", "59 s", "1 min", "2 h", "2 d"]
