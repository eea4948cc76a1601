import os
import signal
import subprocess
import sys

import psutil
import pytest

from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.transport import Beside

MODULE = """
import os
from estuary_cdk.errors import ConfigError
from estuary_cdk.transport import Asked

asked = Asked()
print("for people")
for told in asked.told():
    match told:
        case "who":
            asked.answer(os.getpid())
        case "refuse":
            asked.answer(ConfigError("can't do that", hint="ask for less"))
        case "exit":
            os._exit(3)
        case _:
            asked.answer(told)
"""


@pytest.fixture
def beside(tmp_path, monkeypatch):
    (tmp_path / "answering.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    made = Beside("answering", "answer")
    yield made
    made.end()


def test_values_of_any_kind_and_size_come_back_as_they_were_told(beside):
    for told in ({"a": [1, b"\n", None]}, b"x" * (8 << 20), (1.5, "é")):
        beside.tell(told)
        assert beside.answer() == told


def test_it_is_a_process_of_its_own(beside):
    beside.tell("who")
    assert beside.answer() == beside.pid != os.getpid()


def test_an_error_that_is_answered_is_raised_with_its_hint(beside):
    beside.tell("refuse")
    with pytest.raises(ConfigError) as caught:
        beside.answer()
    assert str(caught.value) == "can't do that (ask for less)"


def test_whether_there_is_an_answer_is_known_without_waiting(beside):
    assert not beside.has_answered()
    beside.tell("who")
    assert beside.answer()
    assert not beside.has_answered()


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda beside: beside.kill(), "was killed by signal 9"),
        (lambda beside: beside.tell("exit"), "ended with status 3"),
    ],
)
def test_its_death_is_a_sentence_for_whoever_waits_or_tells(beside, end, how):
    end(beside)
    with pytest.raises(TransientError, match=f"can't answer: .* {how}"):
        beside.answer()
    with pytest.raises(TransientError, match=how):
        beside.tell(b"x" * (1 << 20))


def test_signals_for_all_processes_of_a_terminal_are_left_to_who_started_it(beside):
    beside.tell("who")
    beside.answer()  # It has begun.
    for each in (signal.SIGINT, signal.SIGTERM):
        os.kill(beside.pid, each)
    beside.tell("still there")
    assert beside.answer() == "still there"


def test_it_ends_when_who_started_it_is_killed(tmp_path):
    (tmp_path / "answering.py").write_text(MODULE)
    code = (
        "import sys, time; from estuary_cdk.transport import Beside\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "beside = Beside('answering', 'answer'); beside.tell('who')\n"
        "print(beside.answer(), flush=True); time.sleep(1000)"
    )
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with started:
        child = psutil.Process(int(started.stdout.readline()))
        started.kill()
    child.wait(HANGS_S)
