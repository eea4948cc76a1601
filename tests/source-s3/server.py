"""Serves a bucket called `files` with the files named as arguments, until it is killed.

Prints the endpoint.
"""

import signal
import sys
import time
from pathlib import Path

import botocore.session

from estuary_cdk.testing.s3 import s3

# Ends the service too, which is a process of its own.
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with s3() as endpoint:
    client = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="someone",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="files")
    for name in sys.argv[1:]:
        client.put_object(Bucket="files", Key=f"in/{Path(name).name}", Body=Path(name).read_bytes())
    print(endpoint, flush=True)
    while True:
        time.sleep(3600)
