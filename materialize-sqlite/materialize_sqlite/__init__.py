"""materialize_sqlite."""
