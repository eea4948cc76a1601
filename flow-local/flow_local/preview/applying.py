"""Apply, as a preview asks for it before each session."""

from typing import Final

from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol import capture, materialize
from flow_local.build.lineage import version_of
from flow_local.connectors import apply_capture, apply_materialization
from flow_local.preview.lines import applied_line
from flow_local.preview.plans import Preview
from flow_local.recovery.patches import EMPTY, updated

APPLIES_MAX: Final = 10


async def applied(preview: Preview, state: bytes, *, again: bool) -> bytes:
    """Apply until no state comes back, at most ten times; return the connector's state afterwards.

    `again` says that this spec is what was applied last, too. Raises RemoteProtocolError where the
    connector never ends.
    """
    for _ in range(APPLIES_MAX):
        answer = await _asked(preview, state, again=again)
        if preview.plan.output_apply:
            preview.write(applied_line(answer.action_description))
        after = updated(state, answer.state)
        if after == state:
            return state
        state = after
    raise RemoteProtocolError(
        f"can't apply {preview.name!r}: after {APPLIES_MAX} times the connector still updates state"
    )


def openable(state: bytes) -> bytes:
    """Return a state as it is opened with: one that was taken back is an empty one."""
    return EMPTY if state == b"null" else state


async def _asked(
    preview: Preview, state: bytes, *, again: bool
) -> capture.Applied | materialize.Applied:
    spec = preview.spec
    version = version_of(spec)
    last_version = version if again else ""
    if isinstance(spec, capture.CaptureSpec):
        return await apply_capture(
            preview.connector,
            capture.Apply(
                capture=spec,
                version=version,
                last_capture=spec if again else None,
                last_version=last_version,
                state=Raw(state),
            ),
        )
    return await apply_materialization(
        preview.connector,
        materialize.Apply(
            materialization=spec,
            version=version,
            last_materialization=spec if again else None,
            last_version=last_version,
            state=Raw(state),
        ),
    )
