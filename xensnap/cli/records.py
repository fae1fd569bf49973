"""Snapshots and domains as documents, and their words that several verbs share."""

from typing import TYPE_CHECKING

from xensnap.cli.documents.parts import (
    DiskDocument,
    DomainDocument,
    ExcludedDocument,
    PinnedDocument,
    RecoveredDocument,
    SnapshotDocument,
)
from xensnap.cli.output import utc
from xensnap.formats.snapshot_record import kind_word
from xensnap.model import DiskSnapshot, Domain, Pin, Snapshot

if TYPE_CHECKING:
    from xensnap.engine.engine import Recovered


def domain_document(domain: Domain) -> DomainDocument:
    """Which domain."""
    return DomainDocument(domain.uuid, domain.name, domain.state, domain.halted)


def disk_document(disk: DiskSnapshot) -> DiskDocument:
    """One disk of a snapshot."""
    return DiskDocument(
        vdev=disk.vdev,
        kind=disk.kind,
        image=disk.image.path,
        format=disk.image.format,
        size_bytes=disk.size_bytes,
        tag=disk.tag or None,
        overlay=disk.overlay.path if disk.overlay else None,
    )


def snapshot_document(snapshot: Snapshot, *, current: str | None) -> SnapshotDocument:
    """One snapshot."""
    return SnapshotDocument(
        name=snapshot.name,
        created=utc(snapshot.creation_time_s),
        creation_time_s=snapshot.creation_time_s,
        kind=kind_word(snapshot),
        consistency=snapshot.consistency,
        state=snapshot.state,
        parent=snapshot.parent,
        current=snapshot.name == current,
        description=snapshot.description,
        memory=snapshot.memory or None,
        live=snapshot.live,
        disks=tuple(map(disk_document, snapshot.disks)),
        excluded=tuple(ExcludedDocument(each.vdev, each.reason) for each in snapshot.excluded),
        pin=pinned_document(snapshot.pin) if snapshot.pin else None,
    )


def pinned_document(pin: Pin) -> PinnedDocument:
    """Who needs a snapshot."""
    return PinnedDocument(pin.owner, utc(pin.until_s) if pin.until_s else None, pin.why)


def pinned_text(pin: PinnedDocument) -> str:
    """The same in words."""
    until = f" until {pin.until}" if pin.until else ""
    return f"by {pin.owner}{until}{f': {pin.why}' if pin.why else ''}"


def recovered_document(recovered: "Recovered | None") -> RecoveredDocument | None:
    """How an interrupted operation ended."""
    if recovered is None:
        return None
    return RecoveredDocument(recovered.domain, recovered.summary, recovered.outcome.value, recovered.why)


def recovered_text(recovered: RecoveredDocument) -> str:
    """The same in words."""
    how = "finished" if recovered.outcome == "done" else "undone"
    return f"{recovered.domain}: interrupted operation {how}: {recovered.summary} ({recovered.why})"
