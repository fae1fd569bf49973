"""Numbers as real programs read them, however many digits they have: Python reads no more than 4,300."""

_DIGITS_MAX = 21
"""With as many a number is larger than any of 64 bits."""


def whole(digits: str) -> int:
    """These decimal digits as a number; of one that 64 bits do not hold, another that they do not hold."""
    return int(digits.lstrip("0")[:_DIGITS_MAX] or "0")
