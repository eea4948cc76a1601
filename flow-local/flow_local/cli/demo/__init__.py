"""`demo`: a pipeline over real files, from nothing to tables, on this machine alone."""
