"""Pipes that hold more than the kernel gives them by itself."""

import fcntl
from contextlib import suppress
from typing import Final

PIPE_BYTES: Final = 1 << 20


def widen(fd: int) -> None:
    """Let a pipe hold a whole block, so that both ends work in larger strides."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
