"""Previews of materializations: transactions for a real connector, which nothing else hears of.

Each session is a connector of its own, opened with the state, checkpoint and greatest keys that the
one before left. A session that has made its transactions ends at once after the last commit; what
its connector does only when it is acknowledged is done at the start of the next. So the last
session is followed by one without transactions, which drains it.
"""

from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.flow import FULL_RANGE, ConnectorState
from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.build.lineage import version_of
from flow_local.connectors import ConnectorFailed
from flow_local.preview.applying import applied
from flow_local.preview.feeds import Feed, Transaction
from flow_local.preview.lines import state_lines
from flow_local.preview.plans import Preview
from flow_local.recovery.patches import updated
from flow_local.tasks.exchange import Exchange, Prepared, together
from flow_local.tasks.opening import Opening, opened, resumed

log = get_logger(__name__)


class MaterializationPreview:
    """Previews one materialization; `state` is the connector's, all along."""

    def __init__(self, preview: Preview, feed: Feed) -> None:
        assert isinstance(preview.spec, MaterializationSpec)
        self.state = preview.plan.initial_state
        self.checkpoint = b"{}"
        self.max_keys = [b"" for _ in preview.spec.bindings]
        self.preview = preview
        self.feed = feed
        self.spec = preview.spec

    async def run(self) -> None:
        """Run all sessions and drain the last.

        Raises what ends a session: DataError for a document that violates its collection's schema,
        ConnectorFailed, RemoteProtocolError.
        """
        for number, transactions in enumerate((*self.preview.plan.sessions, 0)):
            self.state = await applied(self.preview, self.state, again=number > 0)
            try:
                await self._session(transactions)
            finally:
                self.feed.close()

    async def _session(self, transactions: int) -> None:
        preview, spec = self.preview, self.spec
        opening = Opening(
            spec, version_of(spec), FULL_RANGE, self.state, packs_values=preview.packs_values
        )
        async with opened(preview.connector, opening, "preview") as (exchange, answer):
            self.checkpoint, self.max_keys = resumed(answer, self.checkpoint, self.max_keys)
            self.feed.resume(self.checkpoint)
            session = _Session(self, exchange)
            await together(session.receive(), session.run(transactions))


class _Session:
    """One connector's transactions."""

    def __init__(self, task: MaterializationPreview, exchange: Exchange) -> None:
        self._task = task
        self._exchange = exchange
        self._ends_committed = False

    async def receive(self) -> None:
        """Take responses until the connector ends where it may, or all it was to do is done."""
        try:
            await self._exchange.receive()
        except ConnectorFailed as error:
            # It may not know of an end there, and all that was asked of it is committed.
            if not self._ends_committed:
                raise
            log.warning(
                "the connector failed when its session ended after a commit", reason=error.message
            )

    async def run(self, transactions: int) -> None:
        """Make as many transactions, or as many as there are, and end the requests."""
        task, exchange = self._task, self._exchange
        started: ConnectorState | None = None
        left = transactions
        while True:
            prepared = exchange.prepared(task.max_keys)
            await exchange.begin(prepared, started)
            read = None
            if left != 0 and not task.feed.ended:
                read = await task.feed.next(task.preview.plan.timeout_s)
            if read is not None:
                for binding, documents in read.documents:
                    if documents:
                        await exchange.add(prepared, binding, documents)
            acknowledged = (await exchange.acknowledged).state
            task.state = updated(task.state, acknowledged)
            if read is None:
                break
            started = await self._commit(read, prepared, acknowledged)
            left -= 1
            if left == 0 or task.feed.ended:
                self._ends_committed = True
                break
        await exchange.end()

    async def _commit(
        self, transaction: Transaction, prepared: Prepared, acknowledged: ConnectorState | None
    ) -> ConnectorState | None:
        """Flush, store and commit; return the state's update of the commit."""
        task, exchange = self._task, self._exchange
        flushed = await exchange.flush(acknowledged)
        task.state = updated(task.state, flushed)
        await exchange.store()
        started = await exchange.commit(transaction.checkpoint, flushed)
        task.state = updated(task.state, started)
        task.checkpoint = transaction.checkpoint
        task.max_keys = [held.max_key for held in prepared.gathering.held]
        if task.preview.plan.output_state:
            task.preview.write(state_lines(started))
        return started
