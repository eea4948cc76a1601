"""Serves a bucket called `files` with the files named as arguments, until it is killed.

Prints the endpoint.
"""

import signal
import sys
import time
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from estuary_cdk.testing.gcs import gcs

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with gcs() as endpoint:
    options = {"api_endpoint": endpoint}
    client = Client(project="-", credentials=AnonymousCredentials(), client_options=options)
    bucket = client.create_bucket("files")
    for name in sys.argv[1:]:
        bucket.blob(f"in/{Path(name).name}").upload_from_filename(name)
    print(endpoint, flush=True)
    while True:
        time.sleep(3600)
