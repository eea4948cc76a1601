"""Serves the files of a directory over SFTP, until it is killed. Prints its address."""

import signal
import sys
import time
from pathlib import Path

from estuary_cdk.testing.ssh import ssh

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with ssh(Path(sys.argv[1])) as server:
    print(server.address, flush=True)
    while True:
        time.sleep(3600)
