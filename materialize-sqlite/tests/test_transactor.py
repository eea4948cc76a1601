"""Documents into the file and back: exactly once, whoever else writes, whatever is deleted."""

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ContractError, DataError, Fenced
from estuary_cdk.materialize import Keys, RecreateTable, Shard, Stores, TruncateTable
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.testing.sql_endpoint import require_emptying_shuts_out
from materialize_sqlite import transactor as module
from materialize_sqlite.transactor import open_transactor

END = 0xFFFFFFFF
ROWS = "SELECT id, v FROM t ORDER BY id"


def test_rows_and_checkpoint_commit_together(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(file.stores((1, "a"), (2, None)))
        assert file.query(ROWS) == []
        transactor.commit(b'{"sources":{"x":{"readThrough":"1"}}}')
    assert file.query(ROWS) == [(1, "a"), (2, None)]
    with open_transactor(file.config(), [binding], Shard("acme/task", 0, END)) as transactor:
        assert transactor.fence() == b'{"sources":{"x":{"readThrough":"1"}}}'


def test_a_first_session_finds_no_checkpoint(file):
    with open_transactor(file.config(), [], Shard("acme/task", 0, END)) as transactor:
        assert transactor.fence() is None


def test_what_is_not_committed_leaves_no_trace(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(file.stores((1, "a")))
    assert file.query(ROWS) == []


def test_an_empty_transaction_commits_its_checkpoint(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.commit(b'{"n":1}')
        transactor.commit(b'{"n":2}')
    assert file.query("SELECT checkpoint FROM flow_checkpoints_v1") == [('{"n":2}',)]


def test_a_zombie_is_fenced_and_its_rows_are_not_kept(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding) as zombie:
        with file.opened(binding) as newer:
            newer.store(file.stores((1, "new")))
            newer.commit(b'{"n":1}')
        zombie.store(file.stores((2, "old")))
        with pytest.raises(Fenced):
            zombie.commit(b'{"n":2}')
        assert file.query(ROWS) == [(1, "new")]
        assert file.query("SELECT checkpoint FROM flow_checkpoints_v1") == [('{"n":1}',)]


@pytest.mark.parametrize(
    "emptying",
    [
        TruncateTable,
        lambda binding, there: RecreateTable(binding, there, there.columns, "its key changed"),
    ],
)
def test_a_process_whose_table_is_emptied_under_it_is_shut_out(emptying, file):
    require_emptying_shuts_out(file, emptying)


def test_commit_needs_a_fence(file):
    unfenced = open_transactor(file.config(), [], Shard("t", 0, END))
    with unfenced as transactor, pytest.raises(ContractError, match="no fence"):
        transactor.commit(b"{}")


def test_existing_rows_are_updated_and_columns_of_others_stay(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(file.stores((1, "a"), (2, "b")))
        transactor.commit(b"{}")
        file.query("ALTER TABLE t ADD COLUMN mine TEXT")
        file.query("UPDATE t SET mine = 'kept'")
        transactor.store(file.stores((1, "A"), exists=True))
        transactor.commit(b"{}")
    assert file.query("SELECT id, v, mine FROM t ORDER BY id") == [
        (1, "A", "kept"),
        (2, "b", "kept"),
    ]


def test_one_batch_mixes_new_and_existing_rows(file):
    binding = file.binding()
    file.create(binding)
    count = 3 * module.ROWS_PER_CHUNK + 7
    with file.opened(binding) as transactor:
        transactor.store(file.stores(*((key, "old") for key in range(0, count, 3))))
        transactor.commit(b"{}")
        batch = file.stores(*((key, f"new {key}") for key in range(count)))
        exists = [key % 3 == 0 for key in range(count)]
        transactor.store(
            Stores(0, batch.keys, batch.values, batch.documents, exists, batch.deletes)
        )
        transactor.commit(b"{}")
    assert file.query(ROWS) == [(key, f"new {key}") for key in range(count)]


def test_a_row_that_is_there_though_new_is_an_error_not_an_overwrite(file):
    binding = file.binding()
    file.create(binding)
    file.query("INSERT INTO t VALUES (1, 'by hand', '{}')")
    others = [(key, "new") for key in range(2, 25)]
    with file.opened(binding) as transactor, pytest.raises(DataError, match="UNIQUE"):
        transactor.store(file.stores(*others, (1, "a")))
    assert file.query(ROWS) == [(1, "by hand")]


def test_by_default_deleted_documents_keep_their_row(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(file.stores((1, "a")))
        transactor.store(file.stores((2, "d"), delete=True))
        transactor.store(file.stores((1, "d"), exists=True, delete=True))
        transactor.commit(b"{}")
    assert file.query(ROWS) == [(1, "d"), (2, "d")]


def test_hard_deletes_remove_rows_that_exist_and_skip_others(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding, hard_delete=True) as transactor:
        transactor.store(file.stores((1, "a"), (2, "b")))
        transactor.commit(b"{}")
        transactor.store(file.stores((1, "d"), exists=True, delete=True))
        transactor.store(file.stores((9, "d"), delete=True))
        transactor.store(file.stores((3, "c")))
        transactor.commit(b"{}")
    assert file.query(ROWS) == [(2, "b"), (3, "c")]


def test_a_key_can_come_back_after_a_hard_delete(file):
    binding = file.binding()
    file.create(binding)
    with file.opened(binding, hard_delete=True) as transactor:
        transactor.store(file.stores((1, "a")))
        transactor.commit(b"{}")
        transactor.store(file.stores((1, "d"), exists=True, delete=True))
        transactor.commit(b"{}")
        transactor.store(file.stores((1, "again")))
        transactor.commit(b"{}")
    assert file.query(ROWS) == [(1, "again")]


def test_delta_updates_append_rows_of_equal_keys(file):
    binding = file.binding(delta=True)
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(file.stores((1, "a")))
        transactor.commit(b"{}")
        transactor.store(file.stores((1, "b")))
        transactor.commit(b"{}")
    assert file.query("SELECT id, v FROM t ORDER BY rowid") == [(1, "a"), (1, "b")]


def test_loads_return_documents_byte_for_byte_and_leave_out_the_missing(file):
    binding = file.binding()
    file.create(binding)
    text = '{"id": 1,"n":1.0,"big":123456789012345678901234567890,"e":1e3,"s":"\\u0000☃"}'.encode()
    with file.opened(binding) as transactor:
        transactor.store(Stores(0, [b"[1]"], [b"[null]"], [text], [False], [False]))
        transactor.commit(b"{}")
        assert file.loaded(transactor, 1, 2) == [text]
        assert file.loaded(transactor, 1) == [text]
        assert file.loaded(transactor) == []


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
@pytest.mark.parametrize("config", [b"", b'{"castToString":true}'])
def test_a_document_is_text_to_whoever_reads_the_table(file, config, encoding):
    file.query(f"PRAGMA encoding = '{encoding}'; CREATE TABLE people_made_this (x)")
    binding = file.binding()
    binding = replace(binding, document=replace(binding.document, config=config))
    file.create(binding)
    texts = ['{"id":1}', '{"id":2,"v":"☃"}']
    with file.opened(binding) as transactor:
        documents = [text.encode() for text in texts]
        keys, values = [b"[1]", b"[2]"], [b"[null]"] * 2
        transactor.store(Stores(0, keys, values, documents, [False] * 2, [False] * 2))
        transactor.commit(b"{}")
        assert file.loaded(transactor, 1, 2) == documents
    told = file.query("SELECT flow_document, typeof(flow_document) FROM t ORDER BY id")
    assert told == [(text, "text") for text in texts]


def test_a_document_that_is_no_text_is_refused(file):
    binding = file.binding()
    file.create(binding)
    batch = Stores(0, [b"[1]"], [b"[null]"], [b'{"v":"\xff"}'], [False], [False])
    with file.opened(binding) as transactor, pytest.raises(DataError, match="isn't UTF-8"):
        transactor.store(batch)
    assert file.query(ROWS) == []


def test_more_keys_than_memory_should_hold_wait_on_disk(file, monkeypatch):
    monkeypatch.setattr(module, "KEYS_BYTES_MAX", 1000)
    one, two = file.binding("t"), file.binding("u", index=1)
    file.create(one, two)
    count = 700
    with file.opened(one, two) as transactor:
        for index in (0, 1):
            transactor.store(file.stores(*((key, "x") for key in range(count)), binding=index))
        transactor.commit(b"{}")
        for _ in range(2):
            for key in range(0, count + 100, 100):
                keys = [b"[%d]" % each for each in range(key, key + 100)]
                transactor.stage(Keys(0, keys))
                transactor.stage(Keys(1, keys))
            found = [
                (each.binding, document)
                for each in transactor.loaded()
                for document in each.documents
            ]
            assert len(found) == len(set(found)) == 2 * count


def test_keys_of_several_columns_and_types_are_found(file):
    keys = [
        file.field("a", "integer", key=True),
        file.field("b", "string", key=True),
        file.field("c", "boolean", key=True),
    ]
    binding = file.binding(keys=keys)
    file.create(binding)
    spelled = [b'[1,"x",true]', b'[1,"x",false]', rb'[-9223372036854775808,"\u2603\" \u0000",true]']
    documents = [b'{"n":%d}' % n for n in range(3)]
    with file.opened(binding) as transactor:
        transactor.store(Stores(0, spelled, [b'["v"]'] * 3, documents, [False] * 3, [False] * 3))
        transactor.commit(b"{}")
        transactor.stage(Keys(0, [*spelled[1:], b'[2,"x",true]']))
        [found] = transactor.loaded()
    assert sorted(found.documents) == documents[1:]


@pytest.mark.parametrize(
    ("width", "rows"), [(50, 10), (1_499, 10), (1_500, 9), (8_000, 1), (16_000, 10)]
)
def test_a_statement_has_as_many_rows_as_let_it_be_kept(width, rows):
    chosen = module.statement(lambda rows: "☃" + "," * (width * rows + 1_000))
    assert chosen.rows == rows
    with closing(apsw.Connection(":memory:")) as db:
        db.execute("SELECT 1 -- " + chosen.many)
        assert db.cache_stats()["too_big"] == (width == 16_000)


@pytest.mark.parametrize("width", [400, 1500])
def test_a_table_of_very_many_columns_stores(file, width):
    values = [file.field(f"c{n}", "integer", "null") for n in range(width)]
    binding = file.binding(values=values)
    file.create(binding)
    row = msgspec.json.encode(list(range(width)))
    keys = [b"[%d]" % n for n in range(45)]
    with file.opened(binding) as transactor:
        transactor.store(Stores(0, keys, [row] * 45, [b"{}"] * 45, [False] * 45, [False] * 45))
        transactor.commit(b"{}")
    last = width - 1
    assert file.query(f"SELECT count(*), min(c{last}), max(c0) FROM t") == [(45, last, 0)]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(
    transactions=st.lists(
        st.dictionaries(st.integers(0, 9), st.tuples(st.text("ab", max_size=2), st.booleans())),
        max_size=5,
    ),
    hard_delete=st.booleans(),
)
def test_any_transactions_leave_what_a_dict_would(file, transactions, hard_delete):
    for each in file.path.parent.iterdir():
        each.unlink()
    binding = file.binding()
    file.create(binding)
    model: dict[int, str] = {}
    with file.opened(binding, hard_delete=hard_delete) as transactor:
        for documents in transactions:
            found = [
                msgspec.json.decode(each)["id"] for each in file.loaded(transactor, *documents)
            ]
            assert found == sorted(key for key in documents if key in model)
            batch = file.stores(*((key, value) for key, (value, _) in documents.items()))
            exists = [key in model for key in documents]
            deletes = [gone for _, gone in documents.values()]
            transactor.store(Stores(0, batch.keys, batch.values, batch.documents, exists, deletes))
            transactor.commit(b"{}")
            for key, (value, gone) in documents.items():
                if gone and hard_delete:
                    model.pop(key, None)
                else:
                    model[key] = value
            assert file.query(ROWS) == sorted(model.items())


ANOTHER_SQLITE = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
print(db.execute("SELECT id, v FROM t ORDER BY id").fetchall(), flush=True)
for id in range(int(sys.argv[2])):
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (?, 'theirs', ?)", (id, '{"id":%d}' % id))
    if id < 2:
        db.execute("COMMIT")
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_passes_between_versions_of_sqlite_even_where_one_is_killed(file):
    def other(writes: int) -> str:
        command = [sys.executable, "-c", ANOTHER_SQLITE, str(file.path), str(writes)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout

    binding = file.binding()
    file.create(binding)
    assert other(writes=3) == "[]\n"
    assert file.path.with_name(file.path.name + "-wal").stat().st_size > 0
    with file.opened(binding) as transactor:
        assert file.loaded(transactor, 0, 1, 2) == [b'{"id":0}', b'{"id":1}']
        transactor.store(file.stores((1, "ours"), exists=True))
        transactor.store(file.stores((2, "ours")))
        transactor.commit(b"{}")
        assert other(writes=0) == "[(0, 'theirs'), (1, 'ours'), (2, 'ours')]\n"


SHARD = """
import runpy
import sys
from estuary_cdk.materialize import Shard, Stores
from materialize_sqlite.config import Config
from materialize_sqlite.transactor import open_transactor
path, first = sys.argv[1], int(sys.argv[2])
file = runpy.run_path(sys.argv[3])["File"](path)
binding = file.binding()
with file.opened(binding, shard=Shard("acme/task", first, first)) as transactor:
    for n in range(20):
        key = 2 * n + first
        assert file.loaded(transactor, key) == []
        transactor.store(file.stores((key, "x")))
        transactor.commit(b'{"n":%d}' % n)
"""


def test_shards_that_share_a_file_wait_for_each_other_and_never_deadlock(file):
    binding = file.binding()
    file.create(binding)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    tools = str(Path(__file__).with_name("conftest.py"))
    shards = [
        subprocess.Popen(
            [sys.executable, "-c", SHARD, str(file.path), str(n), tools], env=environment
        )
        for n in (0, 1)
    ]
    assert [shard.wait(HANGS_S) for shard in shards] == [0, 0]
    assert file.query("SELECT count(*) FROM t") == [(40,)]
    assert file.query("SELECT checkpoint FROM flow_checkpoints_v1") == [('{"n":19}',)] * 2


def test_processes_may_create_the_file_at_the_same_time(file):
    code = """
import sys
from materialize_sqlite.config import Config
from materialize_sqlite.schema import connect
sys.stdin.readline()
with connect(Config(path=sys.argv[1])) as destination:
    destination.prepare([])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(file.path)], env=environment, stdin=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for racer in racers:
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    for racer in racers:
        assert racer.wait(HANGS_S) == 0
        racer.stdin.close()
