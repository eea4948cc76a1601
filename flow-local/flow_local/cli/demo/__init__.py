"""`demo`: pipelines from nothing to tables, on this machine alone: of changes, or of files."""
