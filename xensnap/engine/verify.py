"""Whether snapshots could be reverted to and would give back what they were: images, what they stand on, memory.

Only what a revert needs counts. Whether all else fits together, and how it is mended, is the doctor's.

`look` asks the host; everything else is a judgement of what it found.
"""

from collections.abc import Iterator, Mapping

import msgspec

from xensnap.engine.live import against_memory
from xensnap.engine.store_steps import fingerprint
from xensnap.engine.view import View, missing_below, paths_below
from xensnap.errors import XensnapError
from xensnap.hypervisor import CheckResult, Hypervisor
from xensnap.model import DiskSnapshot, Format, RunState, Snapshot


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be. `fatal`: the snapshot cannot be reverted to as it is."""

    subject: str
    told: str
    fatal: bool = True


class Looked(msgspec.Struct, frozen=True):
    """What was found on the host, by path: results of checks, or why there is none."""

    checks: Mapping[str, CheckResult]
    unchecked: Mapping[str, str]


async def look(host: Hypervisor, view: View) -> Looked:
    """Check every qcow2 image that nobody writes to now."""
    checks: dict[str, CheckResult] = {}
    unchecked: dict[str, str] = {}
    busy = view.domain.state is not RunState.OFF
    active = {disk.path for disk in view.domain.disks if not disk.readonly}
    for path, image in view.images.items():
        if image is None or image.layer.format is not Format.QCOW2:
            continue
        if busy and path in active:
            unchecked[path] = "the guest writes to it now"
            continue
        try:
            checks[path] = await host.images.check(image.layer)
        except XensnapError as error:
            unchecked[path] = error.cause
    return Looked(checks, unchecked)


def findings(view: View, looked: Looked, snapshot: Snapshot) -> tuple[Finding, ...]:
    """All that is wrong with one snapshot."""
    found = [finding for disk in snapshot.disks for finding in _disk(view, looked, disk)]
    return (*found, *(Finding("memory", reason.cause) for reason in against_memory(view, snapshot)))


def _disk(view: View, looked: Looked, disk: DiskSnapshot) -> Iterator[Finding]:
    problem = disk_problem(view, disk)
    if problem:
        yield Finding(disk.vdev, problem)
    for path in paths_below(view, disk.image.path):
        check = looked.checks.get(path)
        if check is not None and check.corruptions:
            yield Finding(disk.vdev, f"{path} has {check.corruptions} corrupt clusters")
        if check is not None and check.leaks:
            yield Finding(disk.vdev, f"{path} has {check.leaks} leaked clusters, which harm nobody", fatal=False)
        if check is not None and check.stale_flags:
            told = f"{path} has {check.stale_flags} entries that do not say how often a cluster is used: a guest may"
            told += " write into what a snapshot holds before `xensnap doctor --check --repair` has put them right"
            yield Finding(disk.vdev, told, fatal=False)


def disk_problem(view: View, disk: DiskSnapshot) -> str:
    """Why a disk could not be reverted: its image is gone, another one, or stands on nothing. Empty if it could."""
    image = view.images.get(disk.image.path)
    if image is None:
        return f"{disk.image.path} is not there or unreadable"
    if fingerprint(disk, image) != disk.fingerprint:
        return f"{disk.image.path} holds something else than the snapshot left there"
    missing = missing_below(view, image)
    return f"{disk.image.path} stands on {missing}, which is not there or unreadable" if missing else ""
