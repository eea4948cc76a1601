"""A materialization: everything the kit needs to know of a connector, as one value.

    materialization = Materialization(
        config=Config,
        resource=Resource,
        connect=connect,          # (config) -> context of a Destination
        open=open_transactor,     # (config, bindings, shard) -> context of a Transactor
        docs="https://go.estuary.dev/materialize-example",
    )

    if __name__ == "__main__":
        materialization.main()

Which commit pattern it follows is told from the transactor's methods.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import BaseModel

from estuary_cdk import process
from estuary_cdk.config import EndpointConfig, ResourceConfig
from estuary_cdk.errors import ConfigError
from estuary_cdk.materialize.bindings import Binding, Path, Shard
from estuary_cdk.materialize.destination import Destination
from estuary_cdk.materialize.patterns import Transactor
from estuary_cdk.materialize.schedule import SyncSchedule
from estuary_cdk.protocol.flow import SerPolicy

ConfigT = TypeVar("ConfigT", bound=EndpointConfig)
ResourceT = TypeVar("ResourceT", bound=ResourceConfig)

COLLECTION_NAME = "x-collection-name"
SCHEMA_NAME = "x-schema-name"
DELTA_UPDATES = "x-delta-updates"


def marked(model: BaseModel, mark: str) -> Any:
    """Return the value of the setting declared with `mark`, None where there is no such setting."""
    for name, field in type(model).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get(mark):
            return getattr(model, name)
    return None


def marked_path(_config: Any, resource: BaseModel) -> Path:
    """Name a table by the settings marked `schema_name`, where it is set, and `collection_name`."""
    parts = (marked(resource, SCHEMA_NAME), marked(resource, COLLECTION_NAME))
    path = tuple(part for part in parts if part)
    if not path:
        raise ConfigError("can't name the table: the resource config names none")
    return path


def marked_delta_updates(_config: Any, resource: BaseModel) -> bool:
    """Take the setting marked `delta_updates`; standard updates where there is none."""
    return bool(marked(resource, DELTA_UPDATES))


def never(_config: Any, _resource: Any) -> bool:
    """Say no."""
    return False


def not_at_all(_config: Any) -> bool:
    """Say no."""
    return False


def nothing(_config: Any) -> None:
    """Say none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialization(Generic[ConfigT, ResourceT]):
    """A connector that materializes.

    - `connect(config)` gives the endpoint for Validate and Apply; entering it raises ConfigError
      when the endpoint can't be reached or used as configured.
    - `open(config, bindings, shard)` gives the transactor of a session; leaving it undoes what
      isn't committed.
    - `path` and `delta_updates` are read from the resource's marked settings if not given.
    - with `adopt_existing(config, resource)` a new binding may use a table that is already there;
      every key is then loaded, for its rows weren't stored by the runtime.
    - `ser_policy(config)` makes the runtime truncate what is larger; None truncates nothing.
    - where `rebuilds(config)`, loaded documents are made of columns: the whole document needs no
      column, and every property of it does.
    - `schedule(config)` says when transactions are acknowledged; None for at once.

    The contexts are entered, used and left in one thread.
    """

    config: type[ConfigT]
    resource: type[ResourceT]
    connect: Callable[[ConfigT], AbstractContextManager[Destination]]
    open: Callable[
        [ConfigT, Sequence[Binding[ResourceT]], Shard], AbstractContextManager[Transactor]
    ]
    docs: str
    path: Callable[[ConfigT, ResourceT], Path] = marked_path
    delta_updates: Callable[[ConfigT, ResourceT], bool] = marked_delta_updates
    adopt_existing: Callable[[ConfigT, ResourceT], bool] = never
    ser_policy: Callable[[ConfigT], SerPolicy | None] = nothing
    rebuilds: Callable[[ConfigT], bool] = not_at_all
    schedule: Callable[[ConfigT], SyncSchedule | None] = nothing

    def main(self) -> NoReturn:
        """Serve the protocol on stdin and stdout, then exit the process."""
        from estuary_cdk.materialize.runner import serve  # the runner imports this module

        process.main(lambda reader, writer: serve(self, reader, writer))
