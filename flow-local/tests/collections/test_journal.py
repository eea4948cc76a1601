from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_local.collections import DiskFiles, Journal, JournalReader, StorageError


class PowerLost(Exception):
    pass


class CrashingFiles:
    """Files in memory; the operation after `operations` more of them cuts the power."""

    def __init__(self, operations: int = 1 << 30) -> None:
        self.files: dict[Path, bytes] = {}
        self.synced: dict[Path, int] = {}
        self.operations = operations

    def _count(self) -> None:
        if self.operations == 0:
            raise PowerLost
        self.operations -= 1

    def crash(self, kept) -> None:
        """Lose of every file's unsynced end what `kept(unsynced bytes) -> bytes to keep` says."""
        for path, data in list(self.files.items()):
            synced = self.synced.get(path)
            if synced is None:
                keep = kept(len(data))
                if keep == 0:
                    del self.files[path]
                    continue
                self.files[path] = data[:keep]
            else:
                self.files[path] = data[: synced + kept(len(data) - synced)]
            self.synced[path] = len(self.files[path])
        self.operations = 1 << 30

    def segments(self, directory: Path) -> dict[str, int]:
        found = {p.name: len(data) for p, data in self.files.items() if p.parent == directory}
        return dict(sorted(found.items()))

    def append(self, path: Path, data: bytes) -> None:
        half = len(data) // 2
        if self.operations == 0:
            self.files[path] = self.files.get(path, b"") + data[:half]
        self._count()
        self.files[path] = self.files.get(path, b"") + data

    def sync(self, path: Path) -> None:
        self._count()
        self.synced[path] = len(self.files[path])

    def truncate(self, path: Path, size: int) -> None:
        self._count()
        self.files[path] = self.files[path][:size]
        self.synced[path] = min(size, self.synced.get(path, 0))

    def remove(self, path: Path) -> None:
        self._count()
        del self.files[path]
        self.synced.pop(path, None)

    def read(self, path: Path, offset: int, size: int) -> bytes:
        return self.files[path][offset : offset + size]

    def close(self, path: Path) -> None:
        pass


ROOT = Path("journal")


def read_all(directory: Path, files, end: int, block_bytes: int = 16, offset: int = 0) -> bytes:
    reader = JournalReader(directory, files, offset, block_bytes)
    blocks = []
    while block := reader.read(end):
        assert block.endswith(b"\n")
        blocks.append(block)
    assert reader.offset == end
    reader.close()
    return b"".join(blocks)


lines = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=6)


@given(st.lists(lines, max_size=8), st.integers(1, 60), st.integers(1, 50))
def test_readers_get_what_was_committed_whatever_the_sizes(transactions, segment, block):
    files = CrashingFiles()
    journal = Journal("a", ROOT, files, 0, segment)
    for transaction in transactions:
        for line in transaction:
            journal.append(line)
        journal.commit(journal.sync())
    everything = b"".join(line for transaction in transactions for line in transaction)
    assert journal.committed == len(everything)
    assert read_all(ROOT, files, journal.committed, block) == everything


@given(st.lists(lines, max_size=8), st.integers(1, 60), st.integers(0, 60), st.data())
def test_after_a_power_cut_exactly_the_committed_bytes_are_there(
    transactions, segment, operations, data
):
    files = CrashingFiles(operations)
    journal = Journal("a", ROOT, files, 0, segment)
    recorded, expected = 0, b""
    try:
        for transaction in transactions:
            for line in transaction:
                journal.append(line)
            recorded = journal.sync()
            expected += b"".join(transaction)
            journal.commit(recorded)
    except PowerLost:
        pass
    files.crash(lambda unsynced: data.draw(st.integers(0, unsynced)))
    again = Journal("a", ROOT, files, recorded, segment)
    again.append(b"after\n")
    again.commit(again.sync())
    assert read_all(ROOT, files, again.committed) == expected + b"after\n"


@given(st.integers(0, 30), st.data())
def test_a_power_cut_while_rolling_back_is_harmless(operations, data):
    files = CrashingFiles()
    journal = Journal("a", ROOT, files, 0, 10)
    for line in (b"first\n", b"second\n", b"third\n"):
        journal.append(line)
    recorded = journal.sync()
    for line in (b"lost 1\n", b"lost 2\n", b"lost 3\n"):
        journal.append(line)
    files.operations = operations
    with suppress(PowerLost):
        Journal("a", ROOT, files, recorded, 10).append(b"x\n")
    files.crash(lambda unsynced: data.draw(st.integers(0, unsynced)))
    again = Journal("a", ROOT, files, recorded, 10)
    again.append(b"after\n")
    again.commit(again.sync())
    assert read_all(ROOT, files, again.committed) == b"first\nsecond\nthird\nafter\n"


def test_bytes_past_the_committed_end_are_invisible_and_then_cut_off(tmp_path):
    directory = tmp_path / "acme" / "a"
    journal = Journal("acme/a", directory, DiskFiles(), 0)
    journal.append(b"one\n")
    end = journal.sync()
    journal.commit(end)
    journal.append(b"uncommitted\n")
    journal.sync()
    assert read_all(directory, DiskFiles(), end) == b"one\n"
    again = Journal("acme/a", directory, DiskFiles(), end)
    again.append(b"two\n")
    again.commit(again.sync())
    [segment] = directory.iterdir()
    assert segment.read_bytes() == b"one\ntwo\n"


def test_an_attempt_that_is_given_up_leaves_nothing(tmp_path):
    journal = Journal("a", tmp_path, DiskFiles(), 0)
    journal.append(b"attempt\n")
    journal.give_up()
    journal.append(b"second\n")
    journal.commit(journal.sync())
    assert read_all(tmp_path, DiskFiles(), journal.committed) == b"second\n"


def test_segments_roll_at_their_size_and_offsets_run_on(tmp_path):
    journal = Journal("a", tmp_path, DiskFiles(), 0, segment_bytes_max=8)
    for line in (b"1234\n", b"5678\n", b"90\n"):
        journal.append(line)
    journal.commit(journal.sync())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000000000000000000.jsonl",
        "00000000000000000010.jsonl",
    ]
    assert read_all(tmp_path, DiskFiles(), 13, offset=5) == b"5678\n90\n"


def test_missing_committed_bytes_are_an_error_not_a_gap(tmp_path):
    journal = Journal("acme/a", tmp_path, DiskFiles(), 100)
    with pytest.raises(StorageError, match=r"'acme/a': its segments end at 0, but 100 bytes"):
        journal.append(b"x\n")
    with pytest.raises(StorageError, match="are gone"):
        JournalReader(tmp_path, DiskFiles()).read(100)


def test_a_line_longer_than_a_block_is_read_whole(tmp_path):
    journal = Journal("a", tmp_path, DiskFiles(), 0)
    long = b"x" * 1000 + b"\n"
    journal.append(b"s\n" + long)
    journal.commit(journal.sync())
    reader = JournalReader(tmp_path, DiskFiles(), block_bytes=16)
    assert [reader.read(journal.committed), reader.read(journal.committed)] == [b"s\n", long]


class FullDisk(DiskFiles):
    """A disk that has room for one write."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def append(self, path: Path, data: bytes) -> None:
        super().append(path, data[: self.room])
        self.room -= len(data)
        if self.room < 0:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("os.write", _no_space)
                super().append(path, b"x")


def _no_space(fd: int, data: bytes) -> int:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_and_what_was_committed_is_safe(tmp_path):
    files = FullDisk(10)
    journal = Journal("a", tmp_path, files, 0)
    journal.append(b"12345\n")
    journal.commit(journal.sync())
    with pytest.raises(StorageError, match=r"can't write .*: no space left on device \(free some"):
        journal.append(b"more than there is room for\n")
    files.room = 1000
    journal.append(b"again\n")
    journal.commit(journal.sync())
    assert read_all(tmp_path, DiskFiles(), journal.committed) == b"12345\nagain\n"
