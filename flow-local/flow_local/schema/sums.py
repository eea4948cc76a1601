"""Exact addition of JSON numbers, and of decimal numbers held in strings.

Whole numbers stay whole within what 64 bits hold, signed or unsigned. A fraction on either side
makes the sum a double. Strings are added exactly, whatever their size.
"""

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

import msgspec

from estuary_cdk.errors import DataError, shortened

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1
DIGITS_MAX = 10_000

_decode = msgspec.json.Decoder().decode
_exact = Context(
    prec=DIGITS_MAX,
    Emin=-DIGITS_MAX,
    Emax=DIGITS_MAX,
    traps=[Inexact, Overflow, InvalidOperation],
)


def total(older: bytes | None, newer: bytes) -> bytes:
    """Return the sum; a missing older value is zero, and the newer one keeps its bytes.

    Raises DataError for what isn't a number, and for whole sums beyond 64 bits.
    """
    right = _decode(newer)
    left = 0 if older is None else _decode(older)
    if older is None and _is_number(right):
        return newer
    if isinstance(right, str) and (isinstance(left, str) or older is None):
        whole = newer if older is None else _texts_added(str(left), right)
        if older is None:
            _decimal(right)
        return whole
    if not (_is_number(left) and _is_number(right)):
        raise DataError(
            f"can't sum {shortened(left, 80)} and {shortened(right, 80)}:"
            " both must be numbers, or both strings that hold numbers"
        )
    result = left + right
    if isinstance(result, int) and not INTEGER_MIN <= result <= INTEGER_MAX:
        raise DataError(f"can't sum {left} and {right}: the result doesn't fit 64 bits")
    if isinstance(result, float) and result in (float("inf"), float("-inf")):
        raise DataError(f"can't sum {left} and {right}: the result doesn't fit a double")
    return msgspec.json.encode(result)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts_added(left: str, right: str) -> bytes:
    try:
        result = _exact.add(_decimal(left), _decimal(right))
    except (Inexact, Overflow, InvalidOperation) as error:
        raise DataError(
            f"can't sum {shortened(left, 80)} and {shortened(right, 80)}:"
            f" the result needs more than {DIGITS_MAX} digits"
        ) from error
    return msgspec.json.encode(format(result, "f"))


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text) if text.isascii() and "_" not in text else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite() or text != text.strip():
        raise DataError(f"can't sum {shortened(text, 80)}: it doesn't hold a number")
    return value
