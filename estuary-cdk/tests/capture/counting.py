"""A capture of numbers, for tests: each binding counts up to its limit, some at a time."""

import asyncio

from estuary_cdk.capture import (
    Binding,
    BindingState,
    Capture,
    DiscoveredResource,
    Pull,
)
from estuary_cdk.config import EndpointConfig, ResourceConfig, Secret, setting
from estuary_cdk.errors import ConfigError


class Config(EndpointConfig):
    counters: int = setting(2, title="Counters", description="How many bindings there are.")
    token: Secret = setting(Secret(""), title="Token", description="Opens the counter.")


class Resource(ResourceConfig):
    name: str = setting(title="Name", description="Name of the counter.")
    space: str | None = setting(None, title="Space", description="Where the counter is.")
    limit: int = setting(10, title="Limit", description="Where to stop counting.")
    step: int = setting(3, title="Step", description="Documents in a transaction.")


class State(BindingState):
    next: int = 0


async def discover(config: Config) -> list[DiscoveredResource[Resource]]:
    schema = {
        "type": "object",
        "required": ["n"],
        "properties": {"n": {"type": "integer"}},
    }
    return [
        DiscoveredResource(f"counter{i}", Resource(name=f"counter{i}"), schema, ["/n"])
        for i in range(config.counters)
    ]


async def count(pull: Pull[Config, Resource, State]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for binding in pull.bindings:
            tasks.create_task(count_one(pull, binding))


async def count_one(pull: Pull[Config, Resource, State], binding: Binding[Resource, State]) -> None:
    start = binding.state.next if binding.state else 0
    for first in range(start, binding.resource.limit, binding.resource.step):
        after = min(first + binding.resource.step, binding.resource.limit)
        async with pull.transaction() as transaction:
            for n in range(first, after):
                await transaction.emit(binding, [b'{"n":%d,"of":%d}' % (n, binding.index)])
                await pull.clock.sleep(0)
            transaction.checkpoint(binding, State(next=after))


async def check_token(validation) -> None:
    if validation.config.token.get_secret_value() == "wrong":
        raise ConfigError("can't open the counter: the token is wrong")


async def apply(application) -> str:
    return f"prepared {len(application.bindings)} counters"


def counting(**changes) -> Capture[Config, Resource, State]:
    values = {
        "config": Config,
        "resource": Resource,
        "state": State,
        "discover": discover,
        "validate": check_token,
        "apply": apply,
        "pull": count,
        "path": ["/space", "/name"],
        "docs": "https://go.estuary.dev/source-counting",
    }
    return Capture(**{**values, **changes})
