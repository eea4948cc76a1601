from flow_local.supervisor import Board
from flow_local.tasks import BindingProgress, TaskProgress


def test_a_status_has_counts_rates_and_the_last_error():
    board = Board()
    progress = TaskProgress("acme/x", "capture", [BindingProgress("acme/a")])
    board.tasks = [progress]
    [status] = board.status(10.0)
    assert (status.phase, status.error) == ("waiting", "")
    progress.phase, progress.error = "restarting", ValueError("oh no")
    progress.bindings[0].documents, progress.bindings[0].bytes = 100, 5000
    [status] = board.status(12.0)
    [binding] = status.bindings
    assert (binding.documents, binding.documents_per_s, binding.bytes_per_s) == (100, 50.0, 2500.0)
    assert status.error == "oh no"
    # Asked again at once, it has no better rate to tell.
    assert board.status(12.1)[0].bindings[0].documents_per_s == 50.0


def test_a_restarted_tasks_rate_is_never_negative():
    board = Board()
    progress = TaskProgress("acme/x", "capture", [BindingProgress("acme/a", documents=100)])
    board.tasks = [progress]
    board.status(0.0)
    board.status(1.0)
    progress.bindings = [BindingProgress("acme/a", documents=10)]
    assert board.status(2.0)[0].bindings[0].documents_per_s == 0.0
