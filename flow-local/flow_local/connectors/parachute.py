"""Becomes a connector that can't outlive the runtime: asks the kernel for a signal, then executes.

Run as a script: PARENT SIGNAL PROGRAM ARGUMENT... The request survives the exec. Doing it here, in
a fresh process, rather than between fork and exec keeps the forking of a process with threads safe.
Linux alone can do this; elsewhere a connector learns of our end from the end of its stdin.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
EXIT_NOT_EXECUTED = 127


def main(arguments: list[str]) -> None:
    """Set the signal of our parent's death and become the program."""
    parent, signal, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal))
        if os.getppid() != int(parent):
            sys.exit(1)  # It died before we asked.
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"can't execute {command[0]!r}: {error.strerror}\n")
        sys.exit(EXIT_NOT_EXECUTED)


if __name__ == "__main__":
    main(sys.argv[1:])
