"""The tree that snapshots form: parents that are there, no circles, and a current snapshot that exists."""

from collections.abc import Iterator

import msgspec

from xensnap.engine import tree
from xensnap.engine.create import sidecar_paths
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.store_steps import RewriteRecord, WriteSidecar
from xensnap.model import Snapshot


def parents(seen: Survey) -> Iterator[Finding]:
    """Every parent is there. While a record cannot be read, nobody can say that."""
    for snapshot in seen.view.snapshots.values():
        if snapshot.parent is not None and snapshot.parent not in seen.view.snapshots:
            cause = f"{snapshot.name!r} comes from {snapshot.parent!r}, which is not there"
            repair = None if seen.blind else _orphaned(snapshot)
            yield Finding("parent-missing", Severity.WARNING, snapshot.name, cause, "Repair the records first.", repair)


def circles(seen: Survey) -> Iterator[Finding]:
    """Nobody is his own ancestor."""
    snapshots = seen.view.snapshots
    cut: set[str] = set()
    for name in snapshots:
        above: list[str] = []
        at: str | None = name
        while at is not None and at not in above and at not in cut:
            above.append(at)
            at = tree.parent(snapshots, at)
        if at is not None and at not in cut:
            circle = above[above.index(at) :]
            oldest = min(circle, key=lambda each: (snapshots[each].creation_time_s, each))
            cut.update(circle)
            cause = f"{', '.join(map(repr, circle))} come from one another in a circle"
            yield Finding("parent-circle", Severity.WARNING, oldest, cause, repair=_orphaned(snapshots[oldest]))


def current(seen: Survey) -> Iterator[Finding]:
    """The current snapshot is there, or there is none."""
    name = seen.view.state.current
    if name is None or name in seen.view.snapshots or seen.view.state_problem:
        return
    cause = f"the domain is said to be at {name!r}, which is not there"
    stands_on = standing(seen)
    repair = Repair(f"note that it is at {stands_on!r}" if stands_on else "note that it is at none")
    if not seen.blind:
        offered = msgspec.structs.replace(repair, current=(stands_on,))
        yield Finding("current-missing", Severity.WARNING, seen.view.domain.name, cause, repair=offered)
    else:
        yield Finding("current-missing", Severity.WARNING, seen.view.domain.name, cause, "Repair the records first.")


def standing(seen: Survey) -> str | None:
    """The snapshot whose frozen image an active layer stands on directly."""
    held = {disk.image.path: name for name, snapshot in seen.view.snapshots.items() for disk in snapshot.disks}
    for disk in seen.view.disks:
        if disk.chain and len(disk.chain.images) > 1 and disk.chain.images[1].layer.path in held:
            return held[disk.chain.images[1].layer.path]
    return None


def _orphaned(snapshot: Snapshot) -> Repair:
    root = msgspec.structs.replace(snapshot, parent=None)
    sidecars = tuple(WriteSidecar(path, root) for path in sidecar_paths(root))
    return Repair(f"let {snapshot.name!r} come from none", finish=(RewriteRecord(root), *sidecars))
