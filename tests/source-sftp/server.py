"""Serves the files of this machine over SFTP, until it is killed. Prints what a config needs."""

import signal
import sys
import time
from pathlib import Path

import msgspec

from estuary_cdk.testing.sshd import sshd

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
files, directory = map(Path, sys.argv[1:])
directory.mkdir()
with sshd(files, directory) as server:
    credentials = {"type": "sshKey", "username": server.user, "sshKey": server.private_key}
    config = {
        "address": server.address,
        "directory": f"{files}/in",
        "credentials": credentials,
        "advanced": {"hostKey": server.fingerprint},
    }
    print(msgspec.json.encode(config).decode(), flush=True)
    while True:
        time.sleep(3600)
