"""Bounds in steps, so that values which differ a little don't widen a schema each time.

Lengths go by powers of two: a power p lies in (p/2, p), others between their neighbours. Numbers go
by powers of ten in the same way, mirrored for negative ones; below one there is only (0, 1).
"""

from decimal import Decimal

NUMBER_DIGITS_MAX = 400  # beyond, a number has no bound on its far side

Bounds = tuple[int | None, int | None]


def length_bounds(length: int) -> tuple[int, int]:
    """Return the powers of two around a length."""
    if length == 0:
        return 0, 0
    upper = 1 << (length - 1).bit_length()
    return upper // 2, upper


def number_bounds(number: float | Decimal) -> Bounds:
    """Return the powers of ten around a number, None on a side that is too far."""
    if number == 0:
        return 0, 0
    if number < 0:
        lower, upper = number_bounds(-number)
        return None if upper is None else -upper, None if lower is None else -lower
    if number <= 1:
        return 0, 1
    digits = _digits(number)
    if digits > NUMBER_DIGITS_MAX:
        return 10**NUMBER_DIGITS_MAX, None
    upper = 10**digits
    if number == upper // 10:
        upper //= 10
    lower = upper // 10
    return lower, upper


def _digits(number: float | Decimal) -> int:
    """Return the number of digits before the point of a number above one."""
    if isinstance(number, Decimal):
        return number.adjusted() + 1
    return len(str(int(number)))
