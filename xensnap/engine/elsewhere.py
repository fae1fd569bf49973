"""What a guest keeps neither on its disks nor in its memory, and how old a memory is that comes back. Pure.

Neither is a reason to refuse: nothing on the host breaks. But who goes back has to know it before, not by morning.
"""

import re
from collections.abc import Iterator

from xensnap.engine import settings
from xensnap.model import Snapshot

_TPM = re.compile(r"vtpms?\b|-tpmdev\b|\btpm-(?:tis|crb|emulator|passthrough)\b")
_FIRMWARE = re.compile(r"\bif=pflash\b(?!.*\breadonly(?:=on)?\b)|-pflash\b")

OLD_S = 3600
"""Age of a memory, in seconds, from which on it is told; a guest's own time keeping catches up with less."""


def kept_elsewhere(configuration: str) -> tuple[str, ...]:
    """Each thing that a configuration gives the guest to remember something in, and that no snapshot covers.

    Args:
        configuration: libxl's JSON, a description in TOML, or `xl.cfg`; an unknown text tells nothing.
    """
    told = [f"{key} {value}" for key, value in settings.read(configuration).items()]
    found = {"its TPM": _TPM, "the variables of its firmware": _FIRMWARE}
    return tuple(what for what, pattern in found.items() if any(pattern.search(line) for line in told))


def on_create(configuration: str) -> Iterator[str]:
    """Warnings for whoever takes a snapshot of a domain with this configuration."""
    for what in kept_elsewhere(configuration):
        yield f"{what} can be no part of the snapshot: a revert will leave {_them(what)} as of then"


def on_revert(snapshot: Snapshot, configuration: str, now_s: int) -> Iterator[str]:
    """Warnings for whoever goes back: of what stays as it is now, and of a clock that stands still since then.

    Args:
        snapshot: as much of it as is reverted to.
        configuration: of the domain, as it is now.
        now_s: the wall clock, epoch seconds.
    """
    for what in kept_elsewhere(configuration):
        yield f"{what} was no part of the snapshot, and stays as of now"
    age_s = now_s - snapshot.creation_time_s
    if snapshot.memory and age_s >= OLD_S:
        yield (
            f"the guest goes on as of {_span(age_s)} ago: set its clock before anything else, since certificates and "
            "logins go by it; a hook post-revert can do that"
        )


def _them(what: str) -> str:
    return "them" if what.startswith("the variables") else "it"


def _span(seconds: int) -> str:
    """A span in the largest unit of which it has two at least."""
    for unit, length_s in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length_s:
            return f"{seconds // length_s} {unit}"
    return f"{seconds // 60} minutes"
