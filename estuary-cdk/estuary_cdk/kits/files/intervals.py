"""Lengths of time as people write them: ISO 8601 (PT1H30M, P1D) or short (90s, 5m, 1h30m)."""

import re
from datetime import timedelta

PATTERN = r"^([0-9]{1,6}[dhms]){1,4}$|^P[0-9]{1,6}D$|^P([0-9]{1,6}D)?T([0-9]{1,6}[HMS]){1,3}$"
UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def length(text: str) -> timedelta:
    """Return the length that `text`, which matches `PATTERN`, says."""
    parts = re.findall(r"([0-9]+)([dhms])", text.lower())
    return sum((timedelta(**{UNITS[unit]: int(n)}) for n, unit in parts), timedelta())
