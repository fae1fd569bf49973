"""The copies of records beside images, and what they still know when a record is lost."""

from collections.abc import Iterator

from xensnap.engine import names, trust
from xensnap.engine.create import sidecar_paths
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.rebuild import told
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.repair_steps import RemoveFile
from xensnap.engine.state import OurFile
from xensnap.engine.store_steps import RewriteRecord, WriteSidecar, fingerprint
from xensnap.formats import snapshot_record
from xensnap.model import Kind, Snapshot


def wanted(seen: Survey) -> Iterator[Finding]:
    """Each image that was frozen has a copy of its record beside its overlay, which says the same."""
    for path, snapshot in _wanted(seen).items():
        claims = () if seen.view.state.made(path) else (OurFile(path, "sidecar"),)
        repair = Repair(f"write {path} anew", finish=(WriteSidecar(path, snapshot),), claims=claims)
        if path not in seen.beside:
            cause = f"the copy of the record of {snapshot.name!r} is gone"
            yield Finding("copy-missing", Severity.WARNING, path, cause, repair=repair)
        elif not _same(seen.copies.get(path), snapshot):
            cause = f"the copy of the record of {snapshot.name!r} says something else, or cannot be read"
            yield Finding("copy-differs", Severity.WARNING, path, cause, repair=repair)


CLOCK_S = 600
"""How far apart the dates of a record and of its tags may be; both are of this host's clock."""


def remembered(seen: Survey) -> tuple[Snapshot, ...]:
    """Snapshots without a readable record, all of whose content is there, as their copies or the journal tell them."""
    found: dict[str, Snapshot] = {}
    for copy in seen.copies.values():
        if copy and copy.domain_uuid == seen.view.domain.uuid and _is_there(seen, copy):
            found[copy.name] = copy
    for name, snapshot in told(seen.entries).items():
        if name not in found and snapshot.domain_uuid == seen.view.domain.uuid and _could_be(seen, snapshot):
            found[name] = snapshot
    known = {snapshot.name for snapshot in (*seen.kept, *seen.view.state.let_go)}
    return tuple(snapshot for name, snapshot in found.items() if name not in known)


def lost(seen: Survey) -> Iterator[Finding]:
    """No copy, and not the journal, tells of a snapshot that has no record."""
    for snapshot in remembered(seen):
        if not _is_damaged(seen, snapshot):
            repair = Repair(f"write the record of {snapshot.name!r} anew", finish=(RewriteRecord(snapshot),))
            cause = f"the record of {snapshot.name!r} is lost; its content is there"
            yield Finding("record-lost", Severity.ERROR, snapshot.name, cause, repair=repair)
    gone = set(told(seen.entries)) - {each.name for each in (*remembered(seen), *seen.kept, *seen.view.state.let_go)}
    for name in sorted(gone):
        if not _is_damaged(seen, told(seen.entries)[name]):
            cause = f"the record of {name!r} is lost, and what it told of is not what it was, or gone"
            yield Finding("record-lost", Severity.ERROR, name, cause, "Put the record back from a backup.")


def strays(seen: Survey) -> Iterator[Finding]:
    """No copy tells of a snapshot that is no more."""
    known = _wanted(seen)
    rememberable = {snapshot.name for snapshot in (*remembered(seen), *seen.view.state.let_go)} | set(seen.view.trashed)
    for path, copy in seen.copies.items():
        theirs = copy is not None and copy.domain_uuid != seen.view.domain.uuid
        if path in known or theirs or (copy and copy.name in rememberable):
            continue
        if path in seen.doubted:
            cause = f"a copy of a record that no snapshot has, and {seen.doubted[path]}"
            remedy = f"A lost record is written anew from it once it is yours: {trust.REMEDY}"
            yield Finding("copy-not-trusted", Severity.WARNING, path, cause, remedy)
        else:
            yield _of_nobody(seen, path)


def _wanted(seen: Survey) -> dict[str, Snapshot]:
    return {path: snapshot for snapshot in seen.view.snapshots.values() for path in sidecar_paths(snapshot)}


def _same(copy: Snapshot | None, snapshot: Snapshot) -> bool:
    return copy is not None and snapshot_record.encode(copy) == snapshot_record.encode(snapshot)


def _could_be(seen: Survey, planned: Snapshot) -> bool:
    """Whether each image, and each tag of about that date, is there; the fingerprints were not known when planning."""
    for disk in planned.disks:
        image = seen.view.images.get(disk.image.path)
        if image is None:
            return False
        dates = [entry.date_s for entry in image.tagged(disk.tag)]
        if disk.kind is Kind.INTERNAL and (len(dates) != 1 or abs(dates[0] - planned.creation_time_s) > CLOCK_S):
            return False
    return bool(planned.disks)


def _is_damaged(seen: Survey, copy: Snapshot) -> bool:
    """A record that is there and cannot be read is told as such."""
    return f"{seen.store.directory}/{names.record_file(copy.name)}" in seen.view.damaged_paths


def _is_there(seen: Survey, copy: Snapshot) -> bool:
    """Whether every image is what the copy says; one that was merged away since is not."""
    for disk in copy.disks:
        stray = seen.strays.get(disk.image.path)
        image = seen.view.images.get(disk.image.path) or (stray.image if stray else None)
        if image is None or fingerprint(disk, image) != disk.fingerprint:
            return False
    return True


def _of_nobody(seen: Survey, path: str) -> Finding:
    """Nothing is lost with a copy of a record that no snapshot needs."""
    cause = "a copy of a record that no snapshot has"
    ours = seen.view.state.made(path)
    stat = seen.beside[path]
    repair = None
    if stat.is_regular and not seen.blind and (ours is None or ours.inode == stat.file.inode):
        repair = Repair(
            f"remove {path}",
            finish=(RemoveFile(path, stat.file.inode, seen.generation(path)),),
            forgets=frozenset([path]),
        )
    return Finding("copy-of-nobody", Severity.WARNING, path, cause, f"Look at it, and remove it: {path}", repair)
