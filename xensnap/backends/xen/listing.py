"""What xl prints for people, read: `xl list -v`, `xl block-list`, `xl info`. Pure (traced: Xen 4.17.7)."""

import re

import msgspec

from xensnap.errors import Damaged
from xensnap.model import DomainUuid, DomId, RunState

DOM0 = "00000000-0000-0000-0000-000000000000"

# The name comes first and may hold anything, so a line is read from its end.
_LINE = re.compile(
    r"(?P<name>.*?) +(?P<domid>[0-9]{1,10}) +(?P<mem>[0-9]+) +(?P<vcpus>[0-9]+)"
    r" +(?P<state>[r-][b-][p-][s-][A-Za-z0-9?-][d-]) +(?P<seconds>[0-9]+\.[0-9]+)"
    r" (?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) +\S+ +\S+\s*"
)
_BLOCK = re.compile(
    r"(?P<number>[0-9]{1,10}) +[0-9]+ +-?[0-9]+ +(?P<state>[0-9]{1,10}) +-?[0-9]+ +-?[0-9]+ +(?P<backend>\S+)\s*"
)
_CONNECTED = 4

_SHUT_DOWN, _REASON = 3, 4
_REASONS = {"s": RunState.SUSPENDED, "c": RunState.CRASHED}


class Line(msgspec.Struct, frozen=True):
    """One domain of `xl list -v`.

    Attributes:
        reason: why it has been shut down, in xl's letter: `r`eboot, `c`rash, `s`uspend, `w`atchdog; empty for a
            power-off, and where it has not been.
        never_ran: whether it has used no time yet.
    """

    name: str
    domid: DomId
    uuid: DomainUuid
    state: RunState
    reason: str = ""
    never_ran: bool = False


class Block(msgspec.Struct, frozen=True):
    """One disk of `xl block-list`: which backend serves it, and whether the guest's own driver has connected to it."""

    backend: str
    connected: bool


def domains(text: str) -> tuple[Line, ...]:
    """All domains but dom0. `Damaged` with the line that cannot be read."""
    found = []
    for line in text.splitlines()[1:]:
        told = _LINE.fullmatch(line)
        if not told:
            raise Damaged(f"xl list -v: cannot read the line {line!r}", path="xl list -v")
        if told["uuid"] != DOM0:
            domid, uuid = DomId(int(told["domid"])), DomainUuid(told["uuid"])
            unfinished = told["mem"] == "0" and told["vcpus"] == "0"
            letters = told["state"]
            state = _state(letters, unfinished=unfinished)
            reason = letters[_REASON].strip("-") if letters[_SHUT_DOWN] == "s" else ""
            found.append(Line(told["name"], domid, uuid, state, reason, never_ran=not float(told["seconds"])))
    return tuple(found)


def blocks(text: str) -> dict[int, Block]:
    """The disks of a domain by their number, see `formats.device_disk`. What cannot be read is left out."""
    told = [_BLOCK.fullmatch(line) for line in text.splitlines()[1:]]
    return {
        int(each["number"]): Block(_backend(each["backend"]), int(each["state"]) == _CONNECTED) for each in told if each
    }


def capabilities(text: str) -> frozenset[str]:
    """The words of `virt_caps` in `xl info`."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "virt_caps":
            return frozenset(value.split())
    return frozenset()


def _state(letters: str, *, unfinished: bool) -> RunState:
    """What six letters mean. `r` and `b` can both be missing, of a guest that runs all the same.

    The fourth says that the guest has been shut down, the fifth why: `s` is a suspend, `c` a crash, `-` a power-off,
    `r` a reboot, `w` the watchdog, `S` a soft reset (`xl_list.c` of 4.17). A domain that is just being made has no
    memory yet.
    """
    if letters[5] == "d" or unfinished:
        return RunState.DYING
    if letters[_SHUT_DOWN] == "s":
        return _REASONS.get(letters[_REASON], RunState.SHUTDOWN)
    return RunState.PAUSED if letters[2] == "p" else RunState.RUNNING


def _backend(path: str) -> str:
    """`qdisk` or `vbd`, from /local/domain/0/backend/qdisk/1/51712."""
    parts = path.split("/")
    return parts[parts.index("backend") + 1] if "backend" in parts[:-1] else ""
