# ruff: noqa: PT012, SIM117 - what fails is anywhere in a session
"""What goes wrong at the server or on the way: a sentence each, and never half a transaction."""

import random
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from estuary_cdk.errors import CdkError, TransientError
from estuary_cdk.materialize import Keys
from estuary_cdk.testing.sql_endpoint import WHOLE
from estuary_cdk.testing.tcp_proxy import tcp_proxy
from materialize_postgres.config import Config
from materialize_postgres.schema import connect
from materialize_postgres.session import CONNECT_ATTEMPTS_MAX, connected
from materialize_postgres.transactor import open_transactor

DISK_MB = 4

FULL = """
create function full_disk() returns trigger language plpgsql as
$$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100';
end $$
"""


@contextmanager
def small_disk(folder: Path):
    """Mount a disk of few megabytes; skip where we may not."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=777", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting isn't allowed here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        # Lazily: a process of the server may hold a file for a moment that is gone already.
        subprocess.run(["umount", "--lazy", folder], check=True)


def stores_until_it_fails(database, binding) -> None:
    with pytest.raises(TransientError, match=r"No space left on device.*free some space"):
        with database.opened(binding) as transactor:
            for at in range(0, 20_000, 2_000):
                rows = [
                    (key, random.Random(key).randbytes(400).hex()) for key in range(at, at + 2000)
                ]
                transactor.store(database.stores(*rows))
            transactor.commit(b'{"n":2}')
    require_nothing_new(database, binding)


def require_nothing_new(database, binding) -> None:
    with open_transactor(database.config(), [binding], WHOLE) as next_one:
        assert next_one.fence() == b'{"n":1}'
    assert database.run("select id from t where id < 1000000") == []


def begun(database):
    """Make the table, and commit one transaction."""
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1_000_000, "kept")))
        transactor.commit(b'{"n":1}')
    return binding


def test_a_full_disk_is_told_and_nothing_is_kept(database, tmp_path):
    folder = database.cluster.directory / f"small_{database.name}"
    folder.mkdir()
    with small_disk(folder):
        owner = (database.cluster.directory / "data").stat()
        (folder / "space").mkdir()
        subprocess.run(["chown", f"{owner.st_uid}:{owner.st_gid}", folder / "space"], check=True)
        database.run(f"create tablespace small_disk location '{folder}/space'")
        try:
            binding = begun(database)
            database.run("alter table t set tablespace small_disk")
            stores_until_it_fails(database, binding)
        finally:
            database.run("drop table if exists t", "drop tablespace small_disk")


def test_whatever_runs_out_of_disk_is_told_as_that(database):
    binding = begun(database)
    database.run(FULL, "create trigger full_disk before insert on t execute function full_disk()")
    stores_until_it_fails(database, binding)


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_statement_that_takes_too_long_ends_the_transaction(how, database):
    binding = begun(database)
    with psycopg.connect(database.cluster.conninfo, dbname=database.name) as other:
        other.execute("lock table t in share mode")
        with pytest.raises(TransientError, match="raise statement_timeout"):
            with database.opened(binding) as transactor:
                if how == "timeout":
                    transactor._session.execute("set statement_timeout = '50ms'")
                else:
                    threading.Thread(target=lambda: cancel_what_waits(database)).start()
                transactor.store(database.stores((1, "a"), exists=True))
                transactor.commit(b'{"n":2}')
    require_nothing_new(database, binding)


def cancel_what_waits(database) -> None:
    waiting = "select pg_cancel_backend(pid) from pg_locks where not granted"
    while not database.run(waiting):
        pass


def through(proxy, database, **more) -> Config:
    return database.config(address=proxy.address, **more)


PHASES = ["tables", "apply", "fence", "load", "store", "commit"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_connection_that_is_lost_may_be_made_again(phase, database):
    """Every phase ends with an error that passes, and what was committed before is there."""
    binding = begun(database)
    with tcp_proxy("127.0.0.1", database.cluster.port) as proxy, pytest.raises(TransientError):
        config = through(proxy, database)
        if phase in {"tables", "apply"}:
            with connect(config) as destination:
                proxy.drop()
                if phase == "tables":
                    destination.tables([("public", "t")])
                destination.prepare([("elsewhere", "t")])
        with open_transactor(config, [binding], WHOLE) as transactor:
            if phase == "fence":
                proxy.drop()
            transactor.fence()
            transactor.stage(Keys(0, [b"[1]", b"[1000000]"]))
            if phase == "load":
                proxy.drop()
            list(transactor.loaded())
            transactor.store(database.stores((1, "a")))
            if phase == "store":
                proxy.drop()
            for at in range(2, 20_002, 2_000):
                transactor.store(
                    database.stores(*[(key, "x" * 500) for key in range(at, at + 2_000)])
                )
            proxy.drop()
            transactor.commit(b'{"n":2}')
    require_nothing_new(database, binding)


def test_a_commit_whose_answer_is_lost_is_found_again(database):
    binding = begun(database)
    with tcp_proxy("127.0.0.1", database.cluster.port) as proxy:
        with pytest.raises(TransientError):
            with open_transactor(through(proxy, database), [binding], WHOLE) as transactor:
                transactor.fence()
                transactor.store(database.stores((1, "a")))
                commit = transactor._session.commit

                def deaf() -> None:
                    proxy.half_close()
                    commit()

                transactor._session.commit = deaf
                transactor.commit(b'{"n":2}')
    with open_transactor(database.config(), [binding], WHOLE) as next_one:
        found = next_one.fence()
    # Whichever it is, rows and checkpoint agree.
    rows = database.run("select id from t where id = 1")
    assert (found, rows) in [(b'{"n":2}', [(1,)]), (b'{"n":1}', [])]


@pytest.mark.crash
@pytest.mark.parametrize("seed", [1, 2])
def test_a_network_that_fails_all_the_time_doubles_and_loses_nothing(seed, database):
    """Transactions of inserts and updates through a proxy that cuts; each resumes where it is."""
    binding, delta = database.binding(), database.binding("d", index=1, delta=True)
    database.create(binding, delta)
    chance = random.Random(seed)
    transactions, keys = 6, 400
    failures = 0
    with tcp_proxy("127.0.0.1", database.cluster.port) as proxy:
        proxy.cuts = lambda: int(10 ** chance.uniform(2.9, 4.3))
        done = 0
        while done < transactions:
            if failures > 40:
                proxy.cuts = lambda: None
            try:
                with open_transactor(through(proxy, database), [binding, delta], WHOLE) as one:
                    done = int((one.fence() or b"0").strip(b'{"n:}') or b"0")
                    while done < transactions:
                        step(database, one, done + 1, keys)
                        done += 1
            except TransientError:
                failures += 1
    assert failures > 1
    latest = {
        key: str(max(n for n in range(1, transactions + 1) if n * 50 <= key < n * 50 + keys))
        for key in range(50, transactions * 50 + keys)
    }
    assert dict(database.run("select id, v from t")) == latest
    assert database.run("select count(*), count(distinct (id, v)) from d") == [
        (transactions * keys, transactions * keys)
    ]


def step(database, transactor, number: int, keys: int) -> None:
    wanted = range(number * 50, number * 50 + keys)
    known = database.loaded(transactor, *wanted)
    exists = {int(each.split(b",")[0].removeprefix(b'{"id":')) for each in known}
    new = [(key, str(number)) for key in wanted if key not in exists]
    transactor.store(database.stores(*new))
    if exists:
        old = [(key, str(number)) for key in sorted(exists)]
        transactor.store(database.stores(*old, exists=True))
    transactor.store(database.stores(*[(key, str(number)) for key in wanted], binding=1))
    transactor.commit(b'{"n":%d}' % number)


def test_connecting_is_tried_again_a_few_times(database):
    with tcp_proxy("127.0.0.1", database.cluster.port) as proxy:
        config = through(proxy, database)
        proxy.stop()
        pauses: list[float] = []
        with pytest.raises(TransientError, match="nothing answers"):
            connected(config, None, pauses.append)
        assert len(pauses) == CONNECT_ATTEMPTS_MAX - 1
        with connected(config, None, lambda _: proxy.start()) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_refusal_isnt_tried_again(database):
    config = Config.model_validate({**database.settings(), "database": "nowhere"})
    with pytest.raises(CdkError, match="does not exist"):
        connected(config, None, lambda _: pytest.fail("a user has to act"))


def test_a_fence_that_somebody_else_installs_at_that_moment_is_raised_again(database):
    binding = database.binding()
    database.create(binding)
    row = "insert into flow_checkpoints_v1 values ('acme/task', 0, 4294967295, 7, '{\"n\":1}')"
    with psycopg.connect(database.cluster.conninfo, dbname=database.name) as other:
        other.execute(row)

        def commit() -> None:
            while not database.run("select 1 from pg_locks where not granted"):
                pass
            other.commit()

        committing = threading.Thread(target=commit)
        committing.start()
        with open_transactor(database.config(), [binding], WHOLE) as transactor:
            assert transactor.fence() == b'{"n":1}'
            transactor.commit(b'{"n":2}')
        committing.join()
    assert database.run("select fence from flow_checkpoints_v1") == [(8,)]
