"""Spans of time as ISO 8601 durations, spelled as PostgreSQL spells them."""

MONTHS_A_YEAR = 12
NANOSECONDS = 1_000_000_000


def iso_duration(months: int, days: int, nanoseconds: int) -> str:
    """Return a duration like P1Y2M3DT4H5M6.5S; parts that are zero are left out, PT0S is none."""
    sign = -1 if nanoseconds < 0 else 1
    seconds, fraction = divmod(abs(nanoseconds), NANOSECONDS)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    years = int(months / MONTHS_A_YEAR)  # towards zero: 14 months ago are -1 year, -2 months
    date = _parts((years, "Y"), (months - MONTHS_A_YEAR * years, "M"), (days, "D"))
    time = _parts((sign * hours, "H"), (sign * minutes, "M"))
    if seconds or fraction:
        digits = f".{fraction:09}".rstrip("0").rstrip(".")
        time += f"{'-' if sign < 0 else ''}{seconds}{digits}S"
    if not date and not time:
        return "PT0S"
    return f"P{date}{'T' if time else ''}{time}"


def _parts(*parts: tuple[int, str]) -> str:
    return "".join(f"{value}{letter}" for value, letter in parts if value)
