"""The tests of a catalog: documents go into collections, and what these then hold is compared."""

from flow_local.catalog_tests.comparing import Difference, differences
from flow_local.catalog_tests.running import Mismatch, Odd, run_test

__all__ = ["Difference", "Mismatch", "Odd", "differences", "run_test"]
