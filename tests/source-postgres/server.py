"""A throw-away PostgreSQL for the run: rows to backfill, and changes once they are listened for.

Prints the server's address, and runs until it is killed.
"""

import time

import psycopg

from estuary_cdk.testing.postgres import postgres

POLL_S = 0.1
ROWS = (
    "create table elements (id int primary key, canary text)",
    "insert into elements values (1, 'hydrogen'), (2, 'helium'), (3, 'lithium'), (4, 'wrong')",
    "insert into elements values (5, 'boron'), (6, 'carbon'), (7, 'nitrogen'), (8, 'oxygen')",
    "create type spelling as enum ('fluorine', 'neon', 'sodium')",
    'create table "Odd ""name"" é" (id bigint primary key, canary spelling)',
    """insert into "Odd ""name"" é" values (9, 'fluorine'), (10, 'neon')""",
    "create table leaves (id int primary key, canary varchar(40)) partition by range (id)",
    "create table leaves_low partition of leaves for values from (12) to (15)",
    "create table leaves_high partition of leaves for values from (15) to (99)",
    "insert into leaves values (12, 'magnesium'), (15, 'phosphorus'), (16, 'wrong')",
)
CHANGES = (
    "update elements set canary = 'beryllium' where id = 4",
    """insert into "Odd ""name"" é" values (11, 'sodium')""",
    "insert into leaves values (13, 'aluminium, also spelt aluminum'), (14, E'sili\\143on')",
    "update leaves set canary = 'sulfur' where id = 16",
    "insert into leaves values (17, 'chlorine'), (18, 'argon'), (19, 'potassium, “kalium”')",
    "alter table elements add column more int default 1",
    "insert into elements values (20, 'calcium', 2)",
)


def main() -> None:
    """Serve."""
    with postgres() as cluster:
        cluster.execute(*ROWS)
        print(cluster.address, flush=True)
        with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
            while True:
                listening = connection.execute("select from pg_replication_slots where active")
                if listening.fetchone() is not None:
                    break
                time.sleep(POLL_S)
        cluster.execute(*CHANGES)
        while True:
            time.sleep(POLL_S * 100)


if __name__ == "__main__":
    main()
