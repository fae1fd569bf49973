"""A configuration file that was read, and asking it for values of a kind, in libxlutil's words where one is not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from xensnap.errors import Usage

Value: TypeAlias = "str | list[Value]"
"""What stands to the right of an `=`. Numbers are kept as they are written, and converted when asked for."""

LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a key was set to, in which line its value begins, and whether the last assignment was a `+=`."""

    value: Value
    line: int
    added: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration file that was read. `warnings` tell what libxlutil would not have let pass."""

    source: str
    settings: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()

    def string(self, key: str) -> str | None:
        """The value of a key as text; None where it is not set. `Usage` where it is a list."""
        setting = self.settings.get(key)
        if setting is None:
            return None
        if isinstance(setting.value, str):
            return setting.value
        raise self.error(key, f"parameter `{key}' is a list but should be a single value")

    def items(self, key: str) -> list[Value] | None:
        """The value of a key as a list; None where it is not set. `Usage` where it is a single value."""
        setting = self.settings.get(key)
        if setting is None:
            return None
        if isinstance(setting.value, list):
            return setting.value
        raise self.error(key, f"parameter `{key}' is a single value but should be a list")

    def number(self, key: str, *, minimum: int = LONG_MIN, maximum: int = LONG_MAX) -> int | None:
        """The value of a key as `strtol` with base 0 reads it (`010` is eight); None where it is not set.

        Raises:
            Usage: it is a list, no number, or outside of the bounds.
        """
        text = self.string(key)
        if text is None:
            return None
        if self.settings[key].added:
            raise self.error(key, f"can't use += with numbers for parameter `{key}'")
        match = _INTEGER.match(text)
        value = _integer(match) if match else 0
        if not LONG_MIN <= value <= LONG_MAX:
            reason = "Numerical result out of range"
            raise self.error(key, f"parameter `{key}' could not be parsed as a number: {reason}")
        if match is None or match.end() != len(text):
            raise self.error(key, f"parameter `{key}' is not a valid number")
        if value < minimum:
            raise self.error(key, f"value `{value}' is smaller than minimum bound '{minimum}'")
        if value > maximum:
            raise self.error(key, f"value `{value}' is greater than maximum bound '{maximum}'")
        return value

    def error(self, key: str, cause: str) -> Usage:
        """An error about the value of a key, with its place."""
        return Usage(f"{self.source}:{self.settings[key].line}: {cause}", id="bad-config")


def _integer(match: re.Match[str]) -> int:
    digits = match[2]
    if digits[:2] in ("0x", "0X"):
        value = int(digits, 16)
    elif digits[0] == "0":
        value = int(digits, 8)
    else:
        # Longer is out of range in any case, and Python refuses to convert what is very long.
        value = int(digits[:30])
    return -value if match[1] == "-" else value
