"""The connector's process: Flow's protocol on stdin and stdout."""

from typing import NoReturn

from materialize_bigquery import materialization


def main() -> NoReturn:
    """Serve the protocol, then exit."""
    materialization.main()


if __name__ == "__main__":
    main()
