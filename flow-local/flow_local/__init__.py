"""A runtime for Flow catalogs on one machine."""
