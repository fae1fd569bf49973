"""xl's disk specifications, read as libxlutil reads them, down to its error messages (xl-disk-configuration(5)). Pure.

    /images/root.qcow2,qcow2,xvda,rw
    format=qcow2, vdev=xvda, access=rw, target=/images/with,comma.qcow2
    tap:qcow2:/images/old.qcow2,hda,w

libxlutil scans a specification by rules of which the longest match wins, and the earlier one among equals. The rules
stand below in the same order; one with a `lookahead` counts by all that it sees, but takes only its first part. Held to
the real library by `tests/parity`.

Two things are refused that libxlutil lets pass: an empty `vdev=`, because no device has an empty name, and a last
character that no rule reads (`/p,raw,xvda,rw,=`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xensnap.errors import Usage
from xensnap.formats.device_disk import DeviceDisk

_FORMATS = {"": "raw", "raw": "raw", "qcow": "qcow", "qcow2": "qcow2", "vhd": "vhd", "empty": "empty", "qed": "qed"}
_BACKENDS = {word: word for word in ("phy", "tap", "qdisk", "standalone")}
_SPECIFICATIONS = {word: word for word in ("xen", "virtio")}
_ACCESS = {"r": 0, "ro": 0, "rw": 1, "w": 1, "": 1}
_FLAGS: dict[str, tuple[str, object]] = {
    "cdrom": ("is_cdrom", 1),
    "devtype=cdrom": ("is_cdrom", 1),
    "devtype=disk": ("is_cdrom", 0),
    "direct-io-safe": ("direct_io_safe", True),
    "discard": ("discard_enable", "True"),
    "no-discard": ("discard_enable", "False"),
    "colo": ("colo_enable", "True"),
    "no-colo": ("colo_enable", "False"),
    "trusted": ("trusted", "True"),
    "untrusted": ("trusted", "False"),
    "grant_usage=1": ("grant_usage", "True"),
    "grant_usage=0": ("grant_usage", "False"),
}
_STRINGS = {
    "backend": "backend_domname",
    "vdev": "vdev",
    "script": "script",
    "colo-host": "colo_host",
    "colo-export": "colo_export",
    "active-disk": "active_disk",
    "hidden-disk": "hidden_disk",
    "target": "pdev_path",
}
_ENUMS = {"format": _FORMATS, "backendtype": _BACKENDS, "specification": _SPECIFICATIONS}
_MEMBERS = {"format": "format", "backendtype": "backend", "specification": "specification"}


def parse(spec: str, *, source: str, needs_target: bool = True) -> DeviceDisk:
    """Read a disk specification.

    Args:
        spec: its text.
        source: where it stands, for the messages.
        needs_target: whether one without a target is refused unless it is a cdrom, as libxlutil does. In a snapshot's
            configuration a disk without a target is one whose snapshot is internal.

    Raises:
        Usage: id `bad-disk-spec`; the cause has all messages, one on each line, in the words of libxlutil.
    """
    scanner = _Scanner(spec, source)
    if "\0" in spec:
        scanner.complain("bad disk syntax", spec)
    else:
        scanner.run()
    if not scanner.messages:
        scanner.complete(needs_target=needs_target)
    if scanner.messages:
        remedy = "The syntax is that of xl-disk-configuration(5): TARGET,FORMAT,VDEV,ACCESS."
        raise Usage("\n".join(scanner.messages), id="bad-disk-spec", remedy=remedy)
    return DeviceDisk(**scanner.disk)


@dataclass(slots=True)
class _Scanner:
    """What is left to read, and the disk as far as it has been told."""

    spec: str
    source: str
    disk: dict[str, Any] = field(default_factory=lambda: {"readwrite": 1})
    messages: list[str] = field(default_factory=list)
    had_prefix: bool = False
    """A deprecated prefix stands in for the positional format."""
    access_set: bool = False
    ended: bool = False

    def run(self) -> None:
        """Read all of the specification, or up to a mistake that ends it."""
        at = 0
        while at < len(self.spec) and not self.ended:
            rule, match = _longest(self.spec, at)
            text = match["text"]
            rule.act(self, text)
            at += len(text)

    def complete(self, *, needs_target: bool) -> None:
        """Fill in what follows from the rest, and look for what is missing."""
        disk = self.disk
        disk.setdefault("format", "raw")
        if disk.get("is_cdrom"):
            disk.update(removable=1, readwrite=0)
            if not disk.get("pdev_path"):
                disk["format"] = "empty"
        if not disk.get("vdev"):
            self.complain("no vdev specified")
        elif needs_target and disk.get("pdev_path") is None and not disk.get("removable"):
            self.complain("no target specified (and device not removable)")

    def complain(self, what: str, near: str | None = None) -> None:
        """Add a message in libxlutil's form."""
        where = "" if near is None else f": near `{near}'"
        start = f"{self.source}: config parsing error in disk specification: {what}"
        self.messages.append(f"{start}{where} in `{self.spec}'")

    # What the rules do -----------------------------------------------------------------------------------------------

    def nothing(self, _text: str) -> None:
        """White space before a parameter."""

    def flag(self, text: str) -> None:
        """A word that needs no value, or has only these. The last one wins."""
        member, value = _FLAGS[text.removesuffix(",")]
        self.disk[member] = value

    def unknown_type(self, text: str) -> None:
        """Neither cdrom nor disk."""
        self.complain("unknown value for type", text)

    def enum(self, text: str) -> None:
        """`format=…` and its like."""
        key, _, word = text.removesuffix(",").partition("=")
        self._set_word(key, word)

    def access(self, text: str) -> None:
        """`access=…`."""
        self._set_access(text.removesuffix(",").partition("=")[2])

    def string(self, text: str) -> None:
        """`vdev=…` and its like; `target=` takes all that follows it."""
        key, _, value = text.removesuffix(",").partition("=")
        self._set_string(key, value)

    def colo_port(self, text: str) -> None:
        """`colo-port=…`, which C's `atoi` reads."""
        word = text.removesuffix(",").partition("=")[2]
        digits = re.match(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,9})", word)
        if digits and int(digits[1]):
            self.disk["colo_port"] = int(digits[1])
        else:
            self.complain("unknown value for colo_port", word)

    def unknown_parameter(self, text: str) -> None:
        """Some other word before an equals sign."""
        self.complain("unknown parameter", text)

    def format_prefix(self, text: str) -> None:
        """`qcow2:` and its like, from xend's days."""
        self.had_prefix = True
        self._set_word("format", text.removesuffix(":"))

    def script_prefix(self, text: str) -> None:
        """`nbd:` and its like."""
        self.had_prefix = True
        self._set_string("script", f"block-{text.removesuffix(':')}")

    def idle_prefix(self, _text: str) -> None:
        """`tap:` and its like, which mean nothing any more."""
        self.had_prefix = True

    def unknown_prefix(self, text: str) -> None:
        """Some other word before a colon."""
        self.complain("unknown deprecated disk prefix", text)
        self.ended = True

    def positional(self, text: str) -> None:
        """Target, format, vdev, access, in this order, less those that were given by name."""
        text = text.removesuffix(",")
        if self.messages:
            return  # what is in this place may only follow from the mistake before
        if self.disk.get("pdev_path") is None:
            self._set_string("target", text)
        elif not self.had_prefix and "format" not in self.disk:
            if not self.disk["pdev_path"] and self._set_vdev_and_type(text):
                self.disk["format"] = "empty"
            else:
                self._set_word("format", text)
        elif self.disk.get("vdev") is None:
            if not self._set_vdev_and_type(text):
                self._set_string("vdev", text)
        elif not self.access_set:
            self.access_set = True
            self._set_access(text)
        else:
            self.complain("too many positional parameters", text)
            self.ended = True

    def bad(self, text: str) -> None:
        """No rule fits."""
        self.complain("bad disk syntax", text)
        self.ended = True

    # Values ----------------------------------------------------------------------------------------------------------

    def _set_word(self, key: str, word: str) -> None:
        known, member = _ENUMS[key], _MEMBERS[key]
        if word not in known:
            self.complain(f"unknown value for {key}", word)
        elif self.disk.setdefault(member, known[word]) != known[word]:
            self.complain(f"{member} respecified", word)

    def _set_string(self, key: str, value: str) -> None:
        member = _STRINGS[key]
        if self.disk.get(member):
            self.complain(f"{key} respecified", value)
        else:
            self.disk[member] = value

    def _set_access(self, word: str) -> None:
        if word in _ACCESS:
            self.disk["readwrite"] = _ACCESS[word]
        else:
            self.complain("unknown value for access", word)

    def _set_vdev_and_type(self, text: str) -> bool:
        """`VDEV:cdrom` or `VDEV:disk`; False, and nothing done, where there is no colon."""
        vdev, colon, kind = text.rpartition(":")
        if not colon:
            return False
        self._set_string("vdev", vdev)
        if kind in {"cdrom", "disk"}:
            self.disk["is_cdrom"] = int(kind == "cdrom")
        else:
            self.complain("unknown deprecated type", kind)
        return True


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    act: Callable[[_Scanner, str], None]


def _rule(text: str, act: Callable[[_Scanner, str], None], *, lookahead: str = "") -> _Rule:
    return _Rule(re.compile(f"(?P<text>{text}){lookahead}"), act)


def _words(*words: str) -> str:
    return f"(?:{'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})"


# A character class that excludes the comma matches line breaks, and a dot does not: so it is in flex, and in Python.
_RULES = (
    _rule(r"[ \t\n]+", _Scanner.nothing, lookahead=r"(?:[^ \t\n].*)?"),
    _rule(rf"{_words(*_FLAGS)},?", _Scanner.flag),
    _rule(r"devtype=[^,]*,?", _Scanner.unknown_type),
    _rule(rf"{_words(*_ENUMS)}=[^,]*,?", _Scanner.enum),
    _rule(r"access=[^,]*,?", _Scanner.access),
    _rule(rf"{_words(*(key for key in _STRINGS if key != 'target'))}=[^,]*,?", _Scanner.string),
    _rule(r"colo-port=[^,]*,?", _Scanner.colo_port),
    _rule(r"target=.*", _Scanner.string),
    _rule(r"[a-z][-a-z0-9]*=[^,],?", _Scanner.unknown_parameter),
    _rule(r"(?:raw|qcow2?|vhd):", _Scanner.format_prefix, lookahead=".*"),
    _rule(r"(?:iscsi|e?nbd|drbd):", _Scanner.script_prefix, lookahead=".*"),
    _rule(r"(?:tapdisk|tap2?|aio|ioemu|file|phy):", _Scanner.idle_prefix, lookahead=".*"),
    _rule(r"[a-z][a-z0-9]*:", _Scanner.unknown_prefix, lookahead="(?:[^a-z0-9].*)?"),
    _rule(r"[^=,]*,|[^=,]+", _Scanner.positional),
    _rule(r"[^\n].*|\n", _Scanner.bad),
)


def _longest(spec: str, at: int) -> tuple[_Rule, re.Match[str]]:
    """The rule that matches most; the last one counts as a single character, so it is taken where nothing else fits."""
    found: tuple[_Rule, re.Match[str]] | None = None
    for rule in _RULES[:-1]:
        match = rule.pattern.match(spec, at)
        if match and (found is None or match.end() > found[1].end()):
            found = rule, match
    if found is None:
        match = _RULES[-1].pattern.match(spec, at)
        assert match is not None
        found = _RULES[-1], match
    return found
