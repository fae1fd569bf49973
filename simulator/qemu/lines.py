"""A line for the human monitor, read as QEMU 7.2.22 reads it: after the list of arguments that each command has.

A list says of each argument its name and its kind: `B` a device, `s` a string, `o` a size in MiB, with `?` after it
where it may be absent, or `-x` for the flag of that letter. Words may stand in double quotes.
"""

import re

from simulator.core.numerals import whole
from simulator.core.unmodelled import NotModelled

Given = dict[str, str | int | bool]

_WHAT = {"B": "block device name", "s": "string"}
_ESCAPED = {"n": "\n", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_SIZE = re.compile(r"([0-9]+)([bBkKmMgGtTpPeE]?)")
_UNITS = "bkmgtpe"
_MIB = 2


class Unread(Exception):
    """A line is not understood; these are the words for it."""


def split(line: str) -> tuple[str, str]:
    """The command and the rest."""
    name, rest = (*line.split(maxsplit=1), "", "")[:2]
    return name, rest.rstrip()


def read(rest: str, kinds: str, *, name: str) -> Given:
    """What stands after a command. Raises `Unread`.

    Args:
        name: what messages call the command, with its other names.
    """
    given: Given = {}
    for each in kinds.split(",") if kinds else ():
        key, _, kind = each.partition(":")
        rest = rest.lstrip()
        if kind.startswith("-"):
            rest = _flag(rest, key, kind[1], kinds, given, name)
        elif rest or not kind.endswith("?"):
            given[key], rest = _size(rest) if kind[0] == "o" else _word(rest, f"{name}: {_WHAT[kind[0]]} expected")
    if rest.strip():
        raise Unread(f"{name}: extraneous characters at the end of line")
    return given


def _flag(rest: str, key: str, letter: str, kinds: str, given: Given, name: str) -> str:
    if not rest.startswith("-"):
        return rest
    if rest[1:2] == letter:
        given[key] = True
        return rest[2:]
    if f":-{rest[1:2]}," not in f"{kinds},":
        raise Unread(f"{name}: unsupported option -{rest[1:2]}")
    return rest


def _word(rest: str, expected: str) -> tuple[str, str]:
    if not rest.startswith('"'):
        word, left = (*rest.split(maxsplit=1), "", "")[:2]
        if not word:
            raise Unread(expected)
        return word, left
    read, at = "", 1
    while at < len(rest) and rest[at] != '"':
        if rest[at] == "\\":
            at += 1
            if rest[at : at + 1] not in _ESCAPED:
                raise NotModelled(f"QMP: human-monitor-command with {rest!r}")
        read += _ESCAPED[rest[at]] if rest[at - 1] == "\\" else rest[at]
        at += 1
    if at >= len(rest):
        raise Unread(expected)
    return read, rest[at + 1 :]


def _size(rest: str) -> tuple[int, str]:
    found = _SIZE.match(rest)
    if found is None:
        raise Unread("invalid size")
    if rest[found.end() : found.end() + 1].strip():
        raise NotModelled(f"QMP: human-monitor-command with the size {rest!r}")
    power = _UNITS.index(found[2].lower()) if found[2] else _MIB
    size = whole(found[1]) << (10 * power)
    if size >= 1 << 63:
        raise Unread("invalid size")
    return size, rest[found.end() :]
