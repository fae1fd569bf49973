"""The state of a domain made anew, where `domain.libxl-json` is lost or damaged. Pure.

The journal tells what was last decided; where that is lost, too, the records do. What cannot be known is left out: a
file that is not in the ledger is never removed, and an image that is not a hidden base is never merged.
"""

from collections.abc import Iterable, Mapping

import msgspec

from xensnap.engine import names, tree
from xensnap.engine.journal import Begin, End, Entry
from xensnap.engine.plan import each
from xensnap.engine.state import DomainState, HiddenBase, OurFile
from xensnap.engine.store_steps import RemoveRecord, RewriteRecord, WriteRecord
from xensnap.engine.view import View
from xensnap.hypervisor import FileStat
from xensnap.model import DomainUuid, Kind, Snapshot


def rebuilt(
    view: View, entries: Iterable[Entry], stats: Mapping[str, FileStat | None], generations: Mapping[str, int]
) -> DomainState:
    """The state that the domain should have.

    Args:
        view: what was observed, without a state.
        entries: the journal, as far as it can be read.
        stats: what stands at each path that may have to enter the ledger.
        generations: which of the files that had its inode number each of those is.
    """
    decided = last_decided(entries, view.domain.uuid)
    if decided is not None:
        entries_left = tuple(entry for entry in (_seen(each, stats, generations) for each in decided.ours) if entry)
        current = decided.current if decided.current in view.snapshots else _current(view)
        return msgspec.structs.replace(decided, ours=entries_left, current=current)
    claimed = _claimed(view, stats, generations)
    ours = {entry.path for entry in claimed}
    return DomainState(
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        current=_current(view),
        ours=claimed,
        hidden=tuple(_hidden(view, ours)),
    )


def last_decided(entries: Iterable[Entry], uuid: DomainUuid) -> DomainState | None:
    """The state that the last operation which ended well has written down."""
    begun: dict[str, Begin] = {}
    last: DomainState | None = None
    for entry in entries:
        if isinstance(entry, Begin):
            begun[entry.operation] = entry
        elif isinstance(entry, End) and entry.outcome == "done" and entry.operation in begun:
            last = begun[entry.operation].plan.state
    return last if last is not None and last.domain_uuid == uuid else None


def told(entries: Iterable[Entry]) -> dict[str, Snapshot]:
    """The snapshots that there should be by what the journal says was done, as they were planned: without fingerprints.

    The journal may have been put aside meanwhile, so that it does not tell of all.
    """
    begun: dict[str, Begin] = {}
    found: dict[str, Snapshot] = {}
    for entry in entries:
        if isinstance(entry, Begin):
            begun[entry.operation] = entry
        elif isinstance(entry, End) and entry.outcome == "done" and entry.operation in begun:
            plan = begun.pop(entry.operation).plan
            for step in each((*plan.prepare, *plan.finish)):
                if isinstance(step, WriteRecord | RewriteRecord):
                    found[step.snapshot.name] = step.snapshot
                elif isinstance(step, RemoveRecord):
                    found.pop(step.name, None)
    return found


def _seen(entry: OurFile, stats: Mapping[str, FileStat | None], generations: Mapping[str, int]) -> OurFile | None:
    """The entry of a ledger with the identity that the file has now, if it is still there."""
    stat = stats.get(entry.path)
    if stat is None or (entry.inode and entry.inode != stat.file.inode):
        return None
    generation = entry.generation if entry.inode else generations.get(entry.path, 0)
    return msgspec.structs.replace(entry, inode=stat.file.inode, generation=generation)


def _current(view: View) -> str | None:
    """The snapshot that the active layers stand on; where the disks do not tell, the youngest."""
    below = {disk.chain.images[1].layer.path for disk in view.disks if disk.chain and len(disk.chain.images) > 1}
    held = {disk.image.path: name for name, snapshot in view.snapshots.items() for disk in snapshot.disks}
    for path in sorted(below):
        if path in held:
            return held[path]
    return next(reversed(tree.by_name(view.snapshots.values())), None)


def _claimed(view: View, stats: Mapping[str, FileStat | None], generations: Mapping[str, int]) -> tuple[OurFile, ...]:
    """Files that records call ours, and overlays that bear our names and that the domain stands on."""
    found: dict[str, OurFile] = {}
    overlays = {d.overlay.path for snapshot in view.snapshots.values() for d in snapshot.disks if d.overlay}
    overlays |= {path for path in view.images if names.is_overlay(path)}
    for path in sorted(overlays | {path for path in stats if names.is_sidecar(path)}):
        stat = stats.get(path)
        if stat is not None and stat.is_regular:
            role = "sidecar" if names.is_sidecar(path) else "overlay"
            found[path] = OurFile(path, role, stat.file.inode, generations.get(path, 0))
    return tuple(found.values())


def _hidden(view: View, ours: set[str]) -> Iterable[HiddenBase]:
    """Images of ours that others stand on and that no snapshot holds."""
    held = {disk.image.path for snapshot in view.snapshots.values() for disk in snapshot.disks}
    active = {disk.path for disk in view.domain.disks}
    for disk in view.disks:
        for image in (disk.chain.images if disk.chain else ())[1:]:
            if image.layer.path in ours - held - active:
                yield HiddenBase(disk.disk.vdev, image.layer.path, image.layer.format)


def held_by(snapshots: Iterable[Snapshot]) -> dict[str, list[str]]:
    """The names of the external snapshots that hold each image, by its path."""
    found: dict[str, list[str]] = {}
    for snapshot in snapshots:
        for disk in snapshot.disks:
            if disk.kind is Kind.EXTERNAL:
                found.setdefault(disk.image.path, []).append(snapshot.name)
    return found
