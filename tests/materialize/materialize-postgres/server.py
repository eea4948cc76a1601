"""A throw-away PostgreSQL for the run: prints its address, and runs until it is killed."""

import time

from estuary_cdk.testing.postgres import postgres

POLL_S = 10


def main() -> None:
    """Serve."""
    with postgres() as cluster:
        print(cluster.address, flush=True)
        while True:
            time.sleep(POLL_S)


if __name__ == "__main__":
    main()
