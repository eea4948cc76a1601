"""The process that gathers. It holds nothing that isn't read again after a failure."""

from collections.abc import Iterator
from contextlib import suppress

from estuary_cdk.errors import CdkError
from estuary_cdk.transport import Asked
from flow_local.gathering.messages import Add, Answer, Begin, Compile, Loaded, Next, Request
from flow_local.gathering.transaction import Compiled, Transaction, compiled


class Worker:
    """The transactions that are held at a time."""

    def __init__(self) -> None:
        self._how = Compiled((), (), loads_all=False)
        self._begun: dict[int, Transaction] = {}
        self._stores: dict[int, Iterator[tuple[int, bytes]]] = {}

    def answer(self, request: Request) -> Answer:
        """Do what is asked; raises CdkError for what can't be done."""
        match request:
            case Compile(spec, packs_values, loads_all):
                self._how = compiled(spec, packs_values=packs_values, loads_all=loads_all)
            case Begin(number, max_keys):
                self._begun[number] = Transaction(self._how, max_keys)
            case Add(number, binding, lines):
                transaction = self._begun[number]
                count, loads = transaction.add(binding, lines.split(b"\n"))
                return _holding(transaction, binding, count, loads)
            case Loaded(number, binding, lines):
                transaction = self._begun[number]
                stray = transaction.loaded(binding, lines.split(b"\n"))
                return _holding(transaction, binding, 0, stray)
            case Next(number):
                return self._next(number)
        return Answer()

    def _next(self, number: int) -> Answer:
        if number not in self._stores:
            self._stores[number] = self._begun[number].stores()
        count, lines = next(self._stores[number], (0, b""))
        if not count:
            del self._stores[number], self._begun[number]
        return Answer(count, lines)


def _holding(transaction: Transaction, binding: int, count: int, lines: bytes) -> Answer:
    held = transaction.held[binding]
    return Answer(count, lines, held.max_key, held.documents, held.size)


def main() -> None:
    """Answer until nothing more is asked."""
    asked, worker = Asked(), Worker()
    with suppress(BrokenPipeError):  # Nobody listens any more.
        for request in asked.told():
            try:
                asked.answer(worker.answer(request))
            except CdkError as error:
                asked.answer(error)


if __name__ == "__main__":
    main()
