"""Planning to take in what no record tells of, or what is not what its record says. Pure; no image is touched."""

from collections.abc import Iterator

from msgspec.structs import replace

from xensnap.engine import let_go, risks
from xensnap.engine.create import against_name
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.request import AdoptRequest, Fresh
from xensnap.engine.rewrite import rewritten
from xensnap.engine.store_steps import WriteRecord
from xensnap.engine.view import View
from xensnap.errors import NotFound, Reason, Refused
from xensnap.model import (
    Consistency,
    DiskSnapshot,
    Excluded,
    Fingerprint,
    Image,
    InternalSnapshot,
    Kind,
    RunState,
    Snapshot,
)


def plan_adopt(view: View, request: AdoptRequest, fresh: Fresh) -> Plan:
    """Plan to make a record for the tags of this name, or to make the record of a snapshot fit its images.

    A tag that another tool has made becomes a snapshot of the disks that have it. What the guest was doing then is not
    known, so it is called crash-consistent; memory that QEMU has put beside the tag is not used.

    Args:
        view: what was observed.
        request: which, and the risks that are taken.
        fresh: operation id and time.

    Raises:
        NotFound: neither a tag nor a snapshot of this name.
        Refused: with every reason against it. Nothing was touched.
    """
    if request.name in view.snapshots:
        return _renewed(view, view.snapshots[request.name], request, fresh)
    reasons = against_name(view, request.name)
    found: dict[str, tuple[Image, InternalSnapshot]] = {}
    for disk in view.disks:
        image = disk.chain.active if disk.chain else None
        tagged = image.tagged(request.name) if image else ()
        if image and tagged:
            found[disk.disk.vdev] = image, tagged[0]
            reasons.extend(_against_tag(view, disk.disk.vdev, image, tagged))
    if not found and not reasons:
        there = ", ".join(sorted({repr(tag) for tag in _unknown_tags(view)})) or "none"
        cause = f"no image of {view.domain.name} has a tag {request.name!r}"
        raise NotFound(cause, id="no-such-tag", remedy=f"Tags that no record tells of are: {there}.")
    if reasons:
        raise Refused(reasons)
    snapshot = Snapshot(
        name=request.name,
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        creation_time_s=min(entry.date_s for _, entry in found.values()),
        state=RunState.OFF,
        consistency=Consistency.CRASH,
        disks=tuple(
            DiskSnapshot(vdev, Kind.INTERNAL, image.layer, entry.disk_size_bytes, entry.tag)
            for vdev, (image, entry) in found.items()
        ),
        description="adopted",
        excluded=tuple(
            Excluded(disk.disk.vdev, "has no such tag") for disk in view.disks if disk.disk.vdev not in found
        ),
    )
    return plan_for(
        view,
        fresh.operation,
        "adopt",
        f"adopt the tag {request.name!r} of {view.domain.name} as a snapshot",
        snapshot=request.name,
        prepare=(WriteRecord(snapshot),),
    )


def _renewed(view: View, snapshot: Snapshot, request: AdoptRequest, fresh: Fresh) -> Plan:
    reasons = [*let_go.against(view, snapshot)]
    if not reasons:
        raise Refused([Reason("nothing-to-adopt", f"{snapshot.name!r} is what its record says", "Leave it as it is.")])
    taken = risks.refuse(reasons, request.accept)
    renewed = replace(snapshot, disks=tuple(replace(disk, fingerprint=Fingerprint()) for disk in snapshot.disks))
    return plan_for(
        view,
        fresh.operation,
        "adopt",
        f"adopt snapshot {snapshot.name!r} of {view.domain.name} as it is now",
        snapshot=snapshot.name,
        finish=rewritten([renewed]),
        taken=taken,
    )


def _against_tag(view: View, vdev: str, image: Image, tagged: tuple[InternalSnapshot, ...]) -> Iterator[Reason]:
    path = image.layer.path
    if len(tagged) > 1:
        cause = f"{vdev}: {path} has {len(tagged)} snapshots with this tag, and nobody knows which is meant"
        yield Reason("tag-twice", cause, "Delete those that are not wanted, by their ids.")
    if view.frozen(vdev):
        cause = f"{vdev} has external snapshots, and one chain cannot have both kinds"
        yield Reason("kind-is-sticky", cause, "Delete the tag with qemu-img if nobody needs it.")
    if image.file in view.foreign:
        cause = f"{vdev}: {path} is used by the domain {view.foreign[image.file]}, too"
        yield Reason("image-shared", cause, "Give each domain an image of its own.")


def _unknown_tags(view: View) -> Iterator[str]:
    known = {(d.image.path, d.tag) for snapshot in view.snapshots.values() for d in snapshot.disks}
    for disk in view.disks:
        image = disk.chain.active if disk.chain else None
        for entry in image.snapshots if image else ():
            if image and (image.layer.path, entry.tag) not in known:
                yield entry.tag
