"""Command lines as getopt_long takes them apart, and what qemu-img says of bad ones."""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

import msgspec

from simulator.core.numerals import whole
from simulator.core.unmodelled import NotModelled
from simulator.disk.filesystem import FileSystem

replace = msgspec.structs.replace

VERSION = (
    "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n"
    "Copyright (c) 2003-2022 Fabrice Bellard and the QEMU Project developers\n"
)
_TRY = "Try 'qemu-img --help' for more information\n"


class Failed(Exception):
    """The program ends with an error.

    Attributes:
        stderr: all of it.
        status: its exit code.
        fs: what it leaves behind, or None where nothing has changed.
    """

    def __init__(
        self, words: str, *, status: int = 1, fs: FileSystem | None = None, stdout: str = "", named: bool = True
    ) -> None:
        super().__init__(words)
        self.stderr = (f"qemu-img: {words}" if named else words) + "\n"
        self.status = status
        self.fs = fs
        self.stdout = stdout


class Helped(Exception):
    """The program prints its help, whatever else stands on its command line behind this, and ends well."""


def helped() -> str:
    """What `qemu-img --help` prints."""
    return VERSION + files(__package__).joinpath("help.txt").read_text(encoding="utf-8")


def usage(words: str) -> Failed:
    """A command line that qemu-img does not take."""
    failed = Failed(words)
    failed.stderr += _TRY
    return failed


_CACHES = {"none", "off", "writeback", "writethrough", "directsync", "unsafe"}


_PROTOCOLS = frozenset(
    [
        "blkdebug",
        "blklogwrites",
        "blkverify",
        "fat",
        "ftp",
        "ftps",
        "gluster",
        "gluster+rdma",
        "gluster+tcp",
        "gluster+unix",
        "host_cdrom",
        "host_device",
        "http",
        "https",
        "iscsi",
        "iser",
        "json",
        "nbd",
        "nbd+tcp",
        "nbd+unix",
        "nfs",
        "null-aio",
        "null-co",
        "nvme",
        "rbd",
        "ssh",
    ]
)


def protocol_of(name: str, prefix: str = "") -> str | None:
    """What stands before the colon of a name that is no file's.

    Raises:
        Failed: QEMU knows no such protocol, which it says behind `prefix`.
    """
    protocol, colon, _ = name.partition(":")
    if not colon or "/" in protocol or protocol == "file":
        return None
    if protocol not in _PROTOCOLS:
        raise Failed(f"{prefix}Unknown protocol '{protocol}'")
    return protocol


class Call(msgspec.Struct, frozen=True):
    """One command line, read.

    Attributes:
        given: every option in order, with its value.
        words: what is no option.
        cwd: where relative names begin.
    """

    given: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    cwd: str = "/"

    def has(self, *names: str) -> bool:
        """Whether an option was given, by one of its names."""
        return any(each in names for each, _ in self.given)

    def get(self, *names: str) -> str | None:
        """The last value of an option."""
        return next((value for each, value in reversed(self.given) if each in names), None)

    def path(self, name: str) -> str:
        """A file name from the command line."""
        if protocol := protocol_of(name):
            raise NotModelled(f"qemu-img: the file name {name!r}, of {protocol}")
        name = name.removeprefix("file:")
        return posixpath.normpath(posixpath.join(self.cwd, name)).replace("//", "/", 1) if name else name

    def number(self, *names: str) -> int | None:
        """The number that an option was given."""
        text = self.get(*names)
        return None if text is None else size_of(text)

    def require_cache(self, options: str = "tT", *, status: int = 1) -> None:
        """Cache modes, `-t` and `-T`, have to be known ones."""
        for option in options:
            if self.has(option) and self.get(option) not in _CACHES:
                what = "source cache" if option == "T" else "cache"
                raise Failed(f"Invalid {what} option: {self.get(option)}", status=status)

    def past_cache(self, *, writing: bool) -> bool:
        """Whether the host's page cache is to be passed by, which changes what is said of a directory."""
        return self.get("t" if writing else "T") in {"none", "directsync"}

    def one(self) -> str:
        """The only word."""
        if len(self.words) != 1:
            raise usage("Expecting one image file name")
        return self.words[0]


def read(
    argv: Sequence[str],
    short: str,
    long: Sequence[str] = (),
    *,
    cwd: str = "/",
    alone: str = "",
    checks: Mapping[str, Callable[[str], object]] = {},
    refused: int = 1,
) -> Call:
    """The options and words after the name of a subcommand.

    Args:
        short: letters, a colon after those that take a value; `letter=name` is told as `name`.
        long: names, an equals sign after those that take a value.
        alone: options of which only one may be given.
        checks: what looks at the value of an option, and raises, before any later option is read.
        refused: the exit code where an object is.
    """
    letters = {short[at]: short[at + 1 : at + 2] == ":" for at in range(len(short)) if short[at] != ":"}
    names = {name.rstrip("="): name.endswith("=") for name in long}
    given: list[tuple[str, str]] = []
    words: list[str] = []
    rest = list(argv)
    before, seen, objects = "?", 0, set[str]()
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word.startswith("--"):
            given.append(_long(word, names, rest))
        elif word.startswith("-") and word != "-":
            given += _short(word, letters, rest, before)
        else:
            words.append(word)
        before = word
        if alone and sum(name in alone for name, _ in given if len(name) == 1) > 1:
            raise usage("Cannot mix '-l', '-a', '-c', '-d'")
        for name, value in given[seen:]:
            if name in {"h", "help"}:
                raise Helped
            if name == "object":
                try:
                    objects.add(_secret(value, objects))
                except Failed as failed:
                    failed.status = refused
                    raise
            if name in checks:
                checks[name](value)
        seen = len(given)
    return Call(tuple(given), tuple(words), cwd)


_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_OF_SECRETS = {"file", "format", "keyid", "iv", "loaded"}


def _secret(text: str, known: set[str]) -> str:
    """The id of a secret with its data, which images that are not encrypted do not need. No other object is modelled.

    Args:
        known: the ids of those before it.
    """
    first, *rest = (part.replace("\0", ",") for part in text.replace(",,", "\0").split(","))
    given = dict(part.partition("=")[::2] for part in rest)
    key, equals, value = first.partition("=")
    given |= {key: value} if equals else {"qom-type": first} if first else {}
    if "qom-type" not in given:
        raise Failed("Parameter 'qom-type' is missing")
    if given["qom-type"] != "secret" or "help" in given or not _OF_SECRETS.isdisjoint(given):
        raise NotModelled(f"qemu-img with --object {text}")
    if "id" not in given:
        raise Failed("Parameter 'id' is missing")
    if not _IDENTIFIER.fullmatch(given["id"]):
        words = "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."
        raise Failed(f"Parameter 'id' expects an identifier\n{words}")
    if unexpected := given.keys() - {"qom-type", "id", "data"}:
        raise Failed(f"Parameter '{min(unexpected)}' is unexpected")
    if "data" not in given:
        raise Failed("Either 'file' or 'data' must be provided")
    if given["id"] in known:
        raise Failed(f"attempt to add duplicate property '{given['id']}' to object (type 'container')")
    return given["id"]


def _long(word: str, names: dict[str, bool], rest: list[str]) -> tuple[str, str]:
    name, equals, value = word[2:].partition("=")
    known = [each for each in names if each.startswith(name)]
    if name in names:
        known = [name]
    if len(known) != 1:
        raise usage(f"unrecognized option '{word}'")
    if not names[known[0]]:
        return known[0], ""
    if not equals:
        if not rest:
            raise usage(f"missing argument for option '{word}'")
        value = rest.pop(0)
    return known[0], value


def _short(word: str, letters: dict[str, bool], rest: list[str], before: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for at, letter in enumerate(word[1:], 1):
        if letter not in letters:
            # getopt has not left a cluster of several letters yet, so the word before it is told.
            raise usage(f"unrecognized option '{before if at + 1 < len(word) else word}'")
        if not letters[letter]:
            found.append((letter, ""))
            continue
        value = word[at + 1 :]
        if not value:
            if not rest:
                raise usage(f"missing argument for option '{word}'")
            value = rest.pop(0)
        found.append((letter, value))
        break
    return found


SIZE_WORDS = (
    "Parameter 'size' expects a non-negative number below 2^64\n"
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively."
)
"""What is said of a size among the options of a format."""


_NUMBER_MAX = (1 << 63) - 1


def number(text: str, what: str, *, least: int = 0, most: int = _NUMBER_MAX) -> int:
    """A number on the command line that messages call `what`."""
    value = size_of(text)
    if value is None:
        raise Failed(
            f"Invalid {what} specified. You may use k, M, G, T, P or E suffixes for\n"
            "qemu-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes."
        )
    if not least <= value <= most:
        raise Failed(f"Invalid {what} specified. Must be between {least} and {most}.")
    return value


def require_list(text: str) -> None:
    """Refuse an option list that begins or ends with a comma; two commas in a row stand for one in a value."""
    if not text or text[0] == "," or (len(text) - len(text.rstrip(","))) % 2:
        raise Failed(f"Invalid option list: {text}")


def a_number(what: str) -> Callable[[str], int]:
    """The check of an option that takes a number."""
    return lambda text: number(text, what)


_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50, "e": 1 << 60, "": 1}


_SIZE = re.compile(
    r"\s*\+?(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<whole>[0-9]+)(?P<part>\.[0-9]*)?(?P<unit>[bBkKmMgGtTpPeE]?))"
)


def size_of(text: str) -> int | None:
    """A size as qemu-img reads one; None where it is none. Parts of a byte are none, and hexadecimal has no unit.

    What 64 bits do not hold is some size that they do not hold, and none at all before a part or a unit (7.2.22).
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    if found["hex"]:
        return int(found["hex"], 16)
    unit, part = _UNITS[found["unit"].lower()], found["part"] or ""
    if part.strip(".0") and unit == 1:
        return None
    units = whole(found["whole"])
    if units >= 1 << 64 and (part or found["unit"]):
        return None
    # A part so near to one that a double holds the one is lost, and half a byte is one (7.2.22).
    return units * unit + int(float(f"0{part}0") % 1 * unit + 0.5 if part else 0)


_NUMBER = re.compile(r"\s*(?P<sign>[+-]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<octal>0[0-7]*)|(?P<whole>[1-9][0-9]*))")


def number_of(text: str) -> int | None:
    """A number as C reads one that says itself what its base is; None where it is none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    digits, base = (found["hex"], 16) if found["hex"] else (found["octal"], 8)
    number = int(digits, base) if digits else whole(found["whole"])
    return -number if found["sign"] == "-" else number
