"""The log of whoever watches a guest: /var/log/xen/xl-NAME.log. Pure (traced: Xen 4.17.7)."""

import re

import msgspec

from xensnap.model import DomId

_WAITING = re.compile(
    r"Waiting for domain (?P<name>.*) \(domid (?P<domid>[0-9]{1,10})\) to die \[pid (?P<pid>[0-9]{1,10})\]"
)


class Watching(msgspec.Struct, frozen=True):
    """Who watches which domain, or did."""

    domid: DomId
    pid: int


def announcement(name: str, domid: DomId, pid: int) -> str:
    """What a watcher says of itself in its log; `watching` reads it."""
    return f"Waiting for domain {name} (domid {domid}) to die [pid {pid}]"


def watching(text: str) -> Watching | None:
    """The last domain that an xl with this log has watched; None where there is none.

    A log outlives its domain, and a reboot goes on in it under a new domid.
    """
    found = None
    for line in text.splitlines():
        if told := _WAITING.fullmatch(line):
            found = Watching(DomId(int(told["domid"])), int(told["pid"]))
    return found
