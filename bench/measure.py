"""Runs a command and says what it took: wall and CPU seconds, and the peak memory of each process.

CPU is what the kernel charged to the command and to every descendant it waited for. Memory is the
kernel's own note of each process's peak, looked up now and then: looking costs CPU that the command
would have.
"""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLE_S = 0.25


@dataclass
class Measured:
    """One run of a command."""

    wall_s: float
    cpu_s: float
    exit_code: int
    peaks_mb: dict[str, float] = field(default_factory=dict)

    @property
    def peak_mb(self) -> float:
        """The largest peak of any one process."""
        return max(self.peaks_mb.values(), default=0.0)


def measured(
    command: Sequence[str | Path],
    *,
    stdin: bytes | Path = b"",
    stdout: Path | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Measured:
    """Run a command to its end.

    Input is a file, or bytes after which the stream stays open; output is a file or nothing.
    """
    held = isinstance(stdin, bytes)
    with (
        Path(os.devnull if held else stdin).open("rb") as source,
        (stdout or Path(os.devnull)).open("wb") as sink,
    ):
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE if held else source,
            stdout=sink,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )
        if process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.flush()
        peaks: dict[str, float] = {}
        stop = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, peaks, stop))
        sampler.start()
        told = threading.Thread(target=_drain, args=(process, tail := []))
        told.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.stdin is not None:
            process.stdin.close()
        stop.set()
        sampler.join()
        told.join()
    if process.returncode != 0:
        last = tail[-1].decode(errors="replace") if tail else ""
        raise RuntimeError(f"{command[0]} exited with {process.returncode}: {last}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, process.returncode, peaks)


def _drain(process: "subprocess.Popen[bytes]", tail: list[bytes]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        tail[:] = [*tail[-5:], line]


def _sample(pid: int, peaks: dict[str, float], stop: threading.Event) -> None:
    root = psutil.Process(pid)
    while not stop.wait(SAMPLE_S):
        with suppress(psutil.Error):
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.Error):
                    words = [Path(word).name for word in process.cmdline()[:2]]
                    name = next((w for w in words if not w.startswith("python")), "python")
                    peaks[name] = max(peaks.get(name, 0.0), _peak_mb(process.pid))


def _peak_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
