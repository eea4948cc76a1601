"""Patterns of property names, as `patternProperties` has them."""

import re
from functools import lru_cache

PATTERNS_KEPT_MAX = 1000


def matches(pattern: str, name: str) -> bool:
    """Tell whether the pattern occurs in the name; one that Python can't read matches nothing."""
    compiled = _compiled(pattern)
    return compiled is not None and compiled.search(name) is not None


@lru_cache(maxsize=PATTERNS_KEPT_MAX)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None
