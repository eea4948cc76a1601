"""What a way to a server is, other than dialling it: `kits.tunnel` has one."""

from typing import Protocol

from estuary_cdk.errors import CdkError


class Way(Protocol):
    """A way to the server's port."""

    @property
    def entrance(self) -> tuple[str, int]:
        """The address and port to dial in place of the server's."""

    @property
    def failure(self) -> CdkError | None:
        """Why the way is closed, or closed last; None while it is open."""
