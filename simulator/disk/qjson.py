"""JSON as QEMU writes it: the members of an object in the order of QEMU's hash table, and all but ASCII escaped.

The order is a pure function of the names (QEMU 7.2.22: every recorded answer has it), so that text can be compared.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

_BUCKETS = 512
_WORD = 0xFFFFFFFF


def written(value: Any) -> str:
    """On one line, as QMP sends it."""
    return _written(value, None)


def pretty(value: Any) -> str:
    """Indented by four spaces, as `qemu-img --output=json` prints it."""
    return _written(value, 0)


def _written(value: Any, depth: int | None) -> str:
    inner = None if depth is None else depth + 1
    if isinstance(value, Mapping):
        return _block("{}", [f"{_text(key)}: {_written(value[key], inner)}" for key in ordered(value)], depth)
    if isinstance(value, list | tuple):
        return _block("[]", [_written(each, inner) for each in value], depth)
    if isinstance(value, str):
        return _text(value)
    return f"{value:.17g}" if isinstance(value, float) else json.dumps(value)


def _block(brackets: str, parts: list[str], depth: int | None) -> str:
    if depth is None:
        return brackets[0] + ", ".join(parts) + brackets[1]
    indent = "\n" + "    " * (depth + 1)
    return brackets[0] + ",".join(indent + part for part in parts) + "\n" + "    " * depth + brackets[1]


def ordered(names: Iterable[str]) -> list[str]:
    """The names in the order in which QEMU tells them: by bucket, the newest first within one."""
    newest_first = [*names][::-1]
    return sorted(newest_first, key=_bucket)


def _bucket(name: str) -> int:
    data = name.encode("utf-8", "surrogateescape")
    value = (0x238F13AF * len(data)) & _WORD
    for place, byte in enumerate(data):
        value = (value + (byte << (place * 5 % 24))) & _WORD
    return ((1103515243 * value + 12345) & _WORD) % _BUCKETS


_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _text(value: str) -> str:
    return '"' + "".join(map(_character, value)) + '"'


def _character(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    if 0xD800 <= code < 0xE000:
        return "\\uFFFD"  # a byte that is no UTF-8
    if code < 0x10000:
        return f"\\u{code:04X}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04X}\\u{0xDC00 + (code & 0x3FF):04X}"
