"""Runs the command line on a full disk: nothing more can be written to journals."""

import errno
import os
from pathlib import Path

from flow_local.cli.main import main

write = os.write


def refused(fd: int, data: bytes) -> int:
    if Path(f"/proc/self/fd/{fd}").resolve().suffix == ".jsonl":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(fd, data)


os.write = refused
main()
