"""The options of `preview`, which are flowctl's."""

from typing import Annotated

import typer

SessionsOption = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Transactions of each session; each restarts the connector. -1 is no limit.",
    ),
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="End a session that is silent for so long: 10s, 1m."),
]
DelayOption = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Hold transactions open for so long at least."),
]
FixtureOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Documents to materialize in place of collections."),
]
InitialStateOption = Annotated[
    str, typer.Option(metavar="JSON", help="The state that the first session starts from.")
]
OutputStateOption = Annotated[
    bool, typer.Option("--output-state", help="Print the connector's states, too.")
]
OutputApplyOption = Annotated[
    bool, typer.Option("--output-apply", help="Print what Apply did, too.")
]
ShardsOption = Annotated[
    int, typer.Option("--shards", metavar="N", hidden=True, help="Accepted as flowctl's: only 1.")
]
DebugPortOption = Annotated[
    int | None,
    typer.Option("--debug-port", metavar="N", hidden=True, help="Accepted as flowctl's."),
]
LogJsonOption = Annotated[
    bool, typer.Option("--log-json", help="Log lines of JSON, whatever LOG_FORMAT says.")
]
