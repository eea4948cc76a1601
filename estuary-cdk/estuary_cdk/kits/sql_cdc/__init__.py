"""The core of log-based captures of SQL databases: backfills that go along with changes."""
