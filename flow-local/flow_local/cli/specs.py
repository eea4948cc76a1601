"""`spec`: what the connectors of a catalog are, as they say themselves."""

import msgspec
import typer

from estuary_cdk.protocol import capture, materialize
from flow_local.catalog import Capture, Materialization
from flow_local.cli.asking import answers
from flow_local.cli.options import Logging
from flow_local.cli.projects import Project
from flow_local.connectors import Connector, capture_spec, materialization_spec


def print_specs(project: Project, logging: Logging) -> None:
    """Print the spec response of each task's connector, one line of JSON each."""
    tasks = project.chosen(project.catalog())
    for _, answer in answers(tasks, _spec, logging):
        typer.echo(msgspec.json.encode(answer))


async def _spec(
    task: Capture | Materialization, connector: Connector
) -> capture.SpecResponse | materialize.SpecResponse:
    if isinstance(task, Capture):
        return await capture_spec(connector)
    return await materialization_spec(connector)
