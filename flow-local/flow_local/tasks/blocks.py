"""What a connector captured, a block at a time: documents are cut out of it and proved in one go.

Where a document isn't proved valid, the whole block is decoded, and whoever judges documents one by
one tells what is wrong with it, if anything is.
"""

from collections.abc import Sequence

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol.codec import CapturedLines, Run, cut_captured
from flow_local.collections import Batch, are_plain
from flow_local.connectors import CAPTURE, CapturedBatch
from flow_local.schema.proving import Prover

_decode_runs = CAPTURE.responses.decode_runs


class Blocks:
    """Decodes a capture's responses; `provers` are those of its bindings, in order."""

    def __init__(self, provers: Sequence[Prover | None]) -> None:
        self._provers = provers

    def runs(self, block: bytes) -> list[Run]:
        """Return what `Codec.decode_runs` does, but `captured` lines as batches where possible.

        Documents of a batch are valid.
        """
        if not any(self._provers):
            return _decode_runs(block)
        runs: list[Run] = []
        try:
            for part in cut_captured(block):
                if isinstance(part, bytes):
                    runs += _decode_runs(part)
                    continue
                batch = self._batch(part)
                if batch is None:
                    return _decode_runs(block)
                runs.append((CapturedBatch, [CapturedBatch(binding=part.binding, documents=batch)]))
        except RemoteProtocolError:
            return _decode_runs(block)  # Of several mistakes, that is to tell.
        return runs

    def _batch(self, part: CapturedLines) -> Batch | None:
        prover = self._provers[part.binding] if part.binding < len(self._provers) else None
        if prover is None:
            return None
        text, count = part.text(), len(part.middles)
        proof = prover.proof(text, count)
        if proof is None:
            return None
        size = len(text) - count
        plain = are_plain(part.opening, text)
        return Batch(part.middles, size, part.opening, b"}", proof.parts, plain)
