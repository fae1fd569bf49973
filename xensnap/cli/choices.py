"""Which disks a new snapshot covers, and how, from the options of `create`."""

from collections.abc import Callable, Iterable, Sequence

import click

from xensnap.cli.names import full_path
from xensnap.engine.request import DiskChoice
from xensnap.errors import Usage
from xensnap.model import Domain, Kind

THEN = click.Choice(["same", "running", "paused", "stopped"])
FORM = "VDEV=internal|external[:PATH]|skip"


def disk_choices(
    domain: Callable[[], Domain], *, disks: Sequence[str], only: Sequence[str], exclude: Sequence[str], host: str
) -> dict[str, DiskChoice]:
    """What is to be done with each disk that an option speaks of.

    Args:
        domain: looks at the domain, for the disks that `--only` leaves out.
        disks: the values of `--disk`.
        only: the values of `--only`.
        exclude: the values of `--exclude`.
        host: name of the host, for its paths.

    Raises:
        Usage: a value that makes no sense, or two that contradict each other.
    """
    if only and exclude:
        cause = "--only and --exclude both say which disks to leave out"
        raise Usage(cause, id="contradiction", remedy="Use one of them.")
    choices: dict[str, DiskChoice] = {}
    for text in disks:
        vdev, choice = _choice(text, host)
        _put(choices, vdev, choice)
    for vdev in exclude:
        _put(choices, vdev, DiskChoice(skip=True))
    if only:
        for vdev in only:
            if choices.setdefault(vdev, DiskChoice()).skip:
                raise _twice(vdev)
        for vdev in _others(domain(), only):
            if vdev in choices and not choices[vdev].skip:
                raise _twice(vdev)
            choices[vdev] = DiskChoice(skip=True)
    return choices


def _others(domain: Domain, only: Iterable[str]) -> list[str]:
    return [disk.vdev for disk in domain.disks if disk.vdev not in set(only)]


def _choice(text: str, host: str) -> tuple[str, DiskChoice]:
    vdev, equals, what = text.partition("=")
    kind, colon, path = what.partition(":")
    if vdev and equals:
        if what == "skip":
            return vdev, DiskChoice(skip=True)
        if what in set(Kind):
            return vdev, DiskChoice(Kind(what))
        if kind == Kind.EXTERNAL and colon and path:
            return vdev, DiskChoice(Kind.EXTERNAL, full_path(path, host=host))
    raise Usage(f"--disk {text!r} cannot be read", id="bad-disk", remedy=f"Write it as {FORM}.")


def _put(choices: dict[str, DiskChoice], vdev: str, choice: DiskChoice) -> None:
    if choices.setdefault(vdev, choice) != choice:
        raise _twice(vdev)


def _twice(vdev: str) -> Usage:
    cause = f"the options say two different things about {vdev}"
    return Usage(cause, id="contradiction", remedy="Speak of each disk once.")
