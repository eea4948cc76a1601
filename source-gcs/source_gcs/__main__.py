"""The connector's process: Flow's protocol on stdin and stdout."""

from typing import NoReturn

from source_gcs import capture


def main() -> NoReturn:
    """Serve the protocol, then exit."""
    capture.main()


if __name__ == "__main__":
    main()
