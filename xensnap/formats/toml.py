"""TOML as far as it is followed, whoever wrote it: domain files, and our own configuration."""

import tomllib
from typing import Any

from xensnap.formats.limits import NESTING_MAX


def loads(text: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        ValueError: it is none, or its nesting goes deeper than `NESTING_MAX`: for a key with many dots Python 3.11's
            own reader takes a time that grows with their square.
    """
    if any(line.partition("=")[0].count(".") > NESTING_MAX for line in text.splitlines()):
        raise ValueError(f"a key of more than {NESTING_MAX} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
