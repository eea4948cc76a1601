"""source_http."""
