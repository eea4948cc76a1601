"""Windows tile time: every moment is in exactly one, whatever happens in between."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.capture.windows import (
    Cut,
    Window,
    beginning,
    complete_until,
    floor,
    history_window,
    restarted,
    tail_due,
    tail_window,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

cuts = st.builds(
    Cut,
    since=st.integers(-50_000, 50_000).map(lambda s: START + timedelta(seconds=s)),
    tick=st.sampled_from([timedelta(seconds=1), MINUTE, timedelta(hours=1)]),
    lag=st.integers(0, 10_000).map(lambda s: timedelta(seconds=s)),
    step=st.integers(2_000, 200_000).map(lambda s: timedelta(seconds=s)),
)
# What happens next: time passes, a side reads (and its commit is kept or lost to a crash).
events = st.lists(
    st.tuples(st.sampled_from(["pass", "history", "tail", "crash"]), st.integers(0, 20_000)),
    max_size=20,
)


@given(cuts, events)
def test_windows_tile_time_exactly_once_whatever_crashes(cut, happenings):
    now = START
    progress = beginning(cut, now)
    first, kept = progress, []
    for what, seconds in happenings:
        if what == "pass":
            now += timedelta(seconds=seconds)
        elif what == "history" and (window := history_window(cut, progress)):
            progress = replace(progress, history=window.end)
            kept.append(window)
        elif what == "tail" and (window := tail_window(cut, progress, now)):
            assert window.end + cut.lag <= now
            progress = replace(progress, tail=window.end)
            kept.append(window)
        # After a crash the same progress gives the same windows: they are functions of it.
    while window := history_window(cut, progress):
        progress = replace(progress, history=window.end)
        kept.append(window)
    kept.sort(key=lambda window: window.start)
    reached = floor(cut.since, cut.tick)
    for window in kept:
        assert window.start == reached < window.end
        assert window.end - window.start <= max(cut.step, cut.tick)
        assert floor(window.end, cut.tick) == window.end
        reached = window.end
    assert reached == max(progress.tail, first.cutoff)


@given(cuts, st.integers(0, 1_000_000))
def test_the_tail_is_due_exactly_when_its_window_exists(cut, seconds):
    progress = beginning(cut, START)
    due = tail_due(cut, progress)
    assert tail_window(cut, progress, due) is not None
    if due > START:
        assert tail_window(cut, progress, due - timedelta(microseconds=1)) is None
    now = due + timedelta(seconds=seconds)
    window = tail_window(cut, progress, now)
    assert window is not None
    assert window.end <= complete_until(cut, now)


def test_a_restart_reads_all_history_up_to_the_tail_again():
    cut = Cut(START, MINUTE, timedelta(), timedelta(days=1))
    progress = beginning(cut, START + timedelta(hours=1))
    progress = replace(progress, history=progress.cutoff, tail=START + timedelta(hours=2))
    again = restarted(cut, progress)
    assert history_window(cut, again) == Window(START, START + timedelta(hours=2))
    assert again.tail == progress.tail


def test_a_stream_that_starts_in_the_future_has_no_history():
    cut = Cut(START + timedelta(days=1), MINUTE, timedelta(), timedelta(days=1))
    progress = beginning(cut, START)
    assert history_window(cut, progress) is None
    assert tail_window(cut, progress, START) is None
