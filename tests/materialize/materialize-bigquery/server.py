"""A throw-away BigQuery: prints its addresses (REST, then storage), and runs until it is killed."""

import time

from estuary_cdk.testing.bigquery import bigquery

POLL_S = 10


def main() -> None:
    """Serve."""
    with bigquery() as service:
        print(service.url, service.storage, sep=",", flush=True)
        while True:
            time.sleep(POLL_S)


if __name__ == "__main__":
    main()
