"""Planning to merge hidden bases away: images frozen for snapshots that are gone. Pure.

One image at a time, each an operation of its own, so that one that cannot be merged now keeps nobody from anything:

    nobody stands on it         removed, if we made it
    one image stands on it      ours: its data is copied up into that image, then it is removed
                                the operator's: that image is committed down into it, and takes its place and name
    several stand on it         stays hidden

What the QEMU of a guest that runs has open it copies itself, up or down, while the guest goes on.
"""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from xensnap.engine import flags, given_up, space
from xensnap.engine.create import backing_for, sidecar_paths
from xensnap.engine.opened import against_opened
from xensnap.engine.overlay_steps import CommitDown, PullUp, Reback, RemoveImage
from xensnap.engine.pivot_steps import CopyDown, Pivot
from xensnap.engine.plan import Plan, each
from xensnap.engine.planning import plan_for
from xensnap.engine.point_steps import DropPoint
from xensnap.engine.request import EmptyRequest, Fresh
from xensnap.engine.rewrite import rewritten
from xensnap.engine.state import DomainState, HiddenBase, OurFile
from xensnap.engine.steps import Step
from xensnap.engine.store_steps import RemoveRecord, RemoveSidecar, RewriteRecord, StayRecognised, WriteSidecar
from xensnap.engine.trash import needed_by_trash, plan_empty
from xensnap.engine.trash_steps import RemoveTrashed
from xensnap.engine.view import View, untagged
from xensnap.errors import Refused
from xensnap.model import Fingerprint, Format, Image, Kind, Layer, RunState, Snapshot


class Kept(msgspec.Struct, frozen=True):
    """A hidden base that stays for now, and why. `id` is that of the error, where it was tried."""

    base: HiddenBase
    why: str
    id: str = ""

    def told(self) -> str:
        """Both in words."""
        more = f" (`xensnap explain {self.id}`)" if self.id else ""
        return f"{self.base.path} stays as a hidden base: {self.why}{more}"


class Compaction(msgspec.Struct, frozen=True):
    """What was merged away, by path, and what had to stay. `unknown` tells why it is not known what else could go.

    `advice` is what the operator has to do about it himself.
    """

    merged: tuple[str, ...]
    stays: tuple[Kept, ...]
    unknown: str = ""
    advice: tuple[str, ...] = ()

    def told(self) -> tuple[str, ...]:
        """What had to stay and what is to be done, in words."""
        stays = [left.told() for left in self.stays]
        return (*self.advice, *stays, *([self.unknown] if self.unknown else []))


def hidden_now(view: View) -> tuple[HiddenBase, ...]:
    """Hidden bases that no snapshot holds (again) and that no disk has become the active layer of."""
    held = {disk.image.path for snapshot in view.snapshots.values() for disk in snapshot.disks}
    return tuple(base for base in view.state.hidden if base.path not in held)


def plan_collection(view: View, fresh: Fresh, *, leave: frozenset[str] = frozenset()) -> Plan | None:
    """Plan the next merge.

    Args:
        view: what was observed.
        fresh: operation id and time.
        leave: paths of hidden bases that are not to be tried.

    Returns:
        The plan, or None where nothing can be merged now.
    """
    for base in hidden_now(view):
        if base.path not in leave and not why_kept(view, base):
            return _merge(view, base, fresh)
    return None


def following(view: View, plan: Plan) -> tuple[Plan, ...]:
    """The merges that a plan is followed by that deletes: the first of each disk. Others may follow from those.

    Args:
        view: what the plan was made from.
        plan: what comes first.
    """
    after = _after(view, plan)
    fresh = Fresh(plan.operation, plan.planned_s)
    first: dict[str, Plan] = {}
    for base in hidden_now(after):
        if base.vdev not in first and not why_kept(after, base):
            first[base.vdev] = _merge(after, base, fresh)
    return tuple(first.values())


def _after(view: View, plan: Plan) -> View:
    """What will be seen once a plan has been carried out that deletes snapshots, listed or in the trash."""
    snapshots, thrown = dict(view.snapshots), dict(view.trashed)
    dropped: set[tuple[str, str, str]] = set()
    for step in each(plan.finish):
        match step:
            case RewriteRecord(snapshot):
                snapshots[snapshot.name] = snapshot
            case RemoveRecord(name):
                snapshots.pop(name, None)
            case RemoveTrashed(name):
                thrown.pop(name, None)
            case DropPoint():
                dropped.add((step.path, step.tag, step.snapshot_id))
    images = {path: image and untagged(image, dropped) for path, image in view.images.items()}
    return replace(view, snapshots=snapshots, trashed=thrown, state=plan.state, images=images)


def plan_yielding(view: View, fresh: Fresh, *, leave: frozenset[str] = frozenset()) -> Plan | None:
    """Plan to let go what a revert has given up, where something can be merged then that cannot be now.

    Args:
        view: what was observed.
        fresh: operation id and time.
        leave: paths of hidden bases that are not to be tried.

    Returns:
        The plan, or None where nothing would be won, or it cannot be let go now.
    """
    names = tuple(given_up.kept(view))
    if not names or plan_collection(given_up.without(view), fresh, leave=leave) is None:
        return None
    try:
        plan = plan_empty(view, EmptyRequest(names), fresh)
    except Refused:
        return None
    told = f"what a revert gave up, {', '.join(map(repr, names))} in the trash, cannot be had back any more"
    return replace(plan, warnings=(*plan.warnings, told))


def kept(view: View) -> tuple[Kept, ...]:
    """The hidden bases that stay, each with its reason."""
    return tuple(Kept(base, why) for base in hidden_now(view) if (why := why_kept(view, base)))


def why_kept(view: View, base: HiddenBase) -> str:
    """Why a hidden base cannot be merged away now; empty if it can."""
    image = view.images.get(base.path)
    if view.damaged:
        return "a record cannot be read, and nobody knows which images it needs"
    if view.unseen:
        return f"a record of the domain {view.unseen[0]} cannot be read, and nobody knows which images it needs"
    if _is_active(view, base.path):
        return ""
    above = standing_on(view, base.path)
    trashed = needed_by_trash(view, (base.path, *(one.layer.path for one in above)))
    if trashed:
        return f"{trashed!r} in the trash may need it: `xensnap trash empty` gives it up"
    if image is None:
        return f"it is not there or unreadable, and {above[0].layer.path} stands on it" if above else ""
    lost = [path for path in _could_stand_on_it(view) if view.images.get(path) is None]
    if lost:
        return f"{lost[0]} is not there or unreadable, and may stand on it"
    if len(above) > 1:
        return f"{len(above)} images stand on it"
    if view.opened.reads(base.path) and not _is_in_chain(view, base.vdev, image):
        return "the guest that runs reads from it, though no image of the disk names it any more"
    for one in (image, *above):
        if one.file in view.reached:
            return f"{one.layer.path} is used by the domain {view.reached[one.file]}, too"
        if above and one.snapshots:
            return f"{one.layer.path} holds internal snapshots"
    if above and _is_in_chain(view, base.vdev, above[0]) and (reason := next(against_opened(view, {base.vdev}), None)):
        return reason.cause
    if above and not _ours(view, image) and not _has_place(view, above[0].layer.path):
        return f"{above[0].layer.path} stands on it, which no disk uses now but may again when it is attached"
    written = (image, above[0]) if above and _ours(view, image) else (above[0], image) if above else None
    if written and (reason := next(space.against(view, [space.for_merge(*written)]), None)):
        return reason.cause
    if above:
        against = _why_not_up if _ours(view, image) else _why_not_down
        if why := against(view, base, image, above[0]):
            return why
    if above and not _ours(view, image) and base.path.startswith("/dev/"):
        grown = above[0].virtual_size_bytes > image.virtual_size_bytes
        return "the disk has grown beyond its block device" if grown else ""
    return ""


def _why_not_up(view: View, base: HiddenBase, image: Image, above: Image) -> str:
    """Why this image cannot be copied up into the one above as long as the guest runs; empty if it can.

    QEMU 7.2.22 aborts when it streams into a cluster of which only parts are there (qemu.md 189), and streams nothing
    of the zeros beyond the end of an image, which hide what lies below (190).
    """
    if not _is_opened(view, base.vdev, above):
        return ""
    if above.extended_l2:
        return f"QEMU may die of copying into {above.layer.path}, which has extended L2 entries, while the domain runs"
    below = view.images.get(image.backing.path) if image.backing else None
    if below and image.virtual_size_bytes < min(above.virtual_size_bytes, below.virtual_size_bytes):
        return "it is smaller than the images above and below it, and is only merged while the domain is off"
    return ""


def _why_not_down(view: View, base: HiddenBase, image: Image, above: Image) -> str:
    """Why the image above cannot be committed down into this one as long as the guest runs; empty if it can."""
    if not _is_opened(view, base.vdev, above):
        return ""
    if view.domain.state not in (RunState.RUNNING, RunState.PAUSED):
        return f"the domain is {view.domain.state}"
    if image.virtual_size_bytes > above.virtual_size_bytes:
        return "it is larger than the disk is now, and is only cut while the domain is off"
    return ""


def _could_stand_on_it(view: View) -> Iterator[str]:
    """Whatever ever stood on a frozen image: disks, other frozen images, and overlays that no disk uses now."""
    yield from (disk.path for disk in view.domain.disks if disk.path and not disk.cdrom)
    yield from (disk.image.path for snapshot in view.snapshots.values() for disk in snapshot.disks)
    yield from (base.path for base in view.state.hidden if standing_on(view, base.path))
    yield from (entry.path for entry in view.state.ours if entry.role == "overlay")


def standing_on(view: View, path: str) -> tuple[Image, ...]:
    """The images that have this one as their backing file."""
    return tuple(image for image in view.images.values() if image and image.backing and image.backing.path == path)


def _merge(view: View, base: HiddenBase, fresh: Fresh) -> Plan:
    image = view.images.get(base.path)
    if image is None or _is_active(view, base.path):
        return _plan(view, base, fresh, "forget", gone=(base.path,))
    above = standing_on(view, base.path)
    if not above and _ours(view, image):
        return _plan(view, base, fresh, "remove", finish=_remove(view, base.vdev, image.layer), gone=(base.path,))
    if not above:
        return _plan(view, base, fresh, "give back", gone=(base.path,))
    return _pull_up(view, base, image, above[0], fresh) if _ours(view, image) else _commit(view, base, above[0], fresh)


def _pull_up(view: View, base: HiddenBase, image: Image, above: Image, fresh: Fresh) -> Plan:
    """Its data goes up into the one image above, whose content stays the same, and then it is needed no more."""
    below = None
    if image.backing is not None:
        below = backing_for(above.layer.path, Layer(image.backing.path, image.backing.format or Format.RAW))
    changed = [_refreshed(snapshot, above.layer.path, above.layer) for snapshot in _holders(view, above.layer.path)]
    stay_recognised = (StayRecognised(rewritten(changed)),) if changed else ()
    return _plan(
        view,
        base,
        fresh,
        "merge",
        prepare=(*stay_recognised, PullUp(base.vdev, above.layer, below)),
        finish=(*rewritten(changed), *_remove(view, base.vdev, image.layer)),
        gone=(base.path,),
    )


def _commit(view: View, base: HiddenBase, above: Image, fresh: Fresh) -> Plan:
    """The one image above is written down into it, and it takes that image's place: active, frozen or hidden."""
    active = _is_active(view, above.layer.path)
    holders = _holders(view, above.layer.path)
    children = standing_on(view, above.layer.path)
    changed = [_refreshed(snapshot, above.layer.path, base.layer) for snapshot in holders]
    for child in children:  # their headers name another backing file afterwards
        changed += [
            _refreshed(snapshot, child.layer.path, child.layer) for snapshot in _holders(view, child.layer.path)
        ]
    told = flags.advice(view, {base.vdev: base.layer}) if active else ()
    hidden_above = any(other.path == above.layer.path for other in view.state.hidden)
    return _plan(
        view,
        base,
        fresh,
        "merge",
        prepare=_copied_down(view, base, above),
        finish=(
            *(Reback(base.vdev, child.layer, backing_for(child.layer.path, base.layer)) for child in children),
            *rewritten(changed),
            *_old_sidecars(holders, changed),
            *(flags.released(view, above.layer) if active else ()),
            *_remove(view, base.vdev, above.layer),
        ),
        gone=(above.layer.path,) if hidden_above else (base.path, above.layer.path),
        warnings=told,
    )


def _copied_down(view: View, base: HiddenBase, above: Image) -> tuple[Step, ...]:
    """What the image above holds is in the base, and a disk that was on it is on the base."""
    active = _is_active(view, above.layer.path)
    if not _is_opened(view, base.vdev, above):
        uuid = view.domain.uuid if active else ""
        return (CommitDown(base.vdev, above.layer, base.layer, above.virtual_size_bytes, uuid),)
    if active:
        return (
            CopyDown(base.vdev, above.layer, base.layer),
            Pivot(base.vdev, above.layer, base.layer, was=view.domain.state, flag=flags.elsewhere(view)),
        )
    chain = view.chain(base.vdev)
    assert chain is not None, "it is in the chain of a guest that runs"
    place = [image.file for image in chain].index(above.file)
    return (CopyDown(base.vdev, above.layer, base.layer, above=chain.images[place - 1].layer),)


def _plan(
    view: View,
    base: HiddenBase,
    fresh: Fresh,
    verb: str,
    *,
    prepare: tuple[Step, ...] = (),
    finish: tuple[Step, ...] = (),
    gone: tuple[str, ...],
    warnings: tuple[str, ...] = (),
) -> Plan:
    prepare, finish = flags.around(view, prepare, finish, gone)
    return plan_for(
        view,
        fresh.operation,
        "collect",
        f"{verb} the hidden base {base.path} of {view.domain.name}",
        image=base.path,
        prepare=prepare,
        state=_without(view.state, gone, finish),
        finish=finish,
        warnings=warnings,
    )


def _without(state: DomainState, gone: tuple[str, ...], finish: tuple[Step, ...]) -> DomainState:
    removed = {step.layer.path for step in finish if isinstance(step, RemoveImage)}
    removed |= {step.path for step in finish if isinstance(step, RemoveSidecar)}
    written = {step.path for step in finish if isinstance(step, WriteSidecar)}
    known = {entry.path for entry in state.ours}
    return msgspec.structs.replace(
        state,
        hidden=tuple(base for base in state.hidden if base.path not in gone),
        ours=(
            *(entry for entry in state.ours if entry.path not in removed),
            *(OurFile(path, "sidecar") for path in sorted(written - known)),
        ),
    )


def _remove(view: View, vdev: str, layer: Layer) -> tuple[Step, ...]:
    ours = view.state.made(layer.path)
    return (RemoveImage(vdev, layer, ours.inode, ours.generation),) if ours else ()


def _old_sidecars(before: list[Snapshot], after: list[Snapshot]) -> tuple[Step, ...]:
    new = {path for snapshot in after for path in sidecar_paths(snapshot)}
    return tuple(
        RemoveSidecar(path, snapshot.name, snapshot.domain_uuid)
        for snapshot in before
        for path in sidecar_paths(snapshot)
        if path not in new
    )


def _holders(view: View, path: str) -> list[Snapshot]:
    """The snapshots whose content of some disk is in this image."""
    return [
        snapshot
        for snapshot in view.snapshots.values()
        if any(disk.kind is Kind.EXTERNAL and disk.image.path == path for disk in snapshot.disks)
    ]


def _refreshed(snapshot: Snapshot, path: str, layer: Layer) -> Snapshot:
    """The snapshot with its image under another name, to be recognised anew, because the merge changes the file."""
    return replace(
        snapshot,
        disks=tuple(
            replace(disk, image=layer, fingerprint=Fingerprint()) if disk.image.path == path else disk
            for disk in snapshot.disks
        ),
    )


def _is_in_chain(view: View, vdev: str, image: Image) -> bool:
    chain = view.chain(vdev)
    return chain is not None and any(other.file == image.file for other in chain)


def _is_opened(view: View, vdev: str, image: Image) -> bool:
    """Whether the QEMU of a guest that runs has it open, below a disk or as its active layer."""
    return view.domain.state is not RunState.OFF and _is_in_chain(view, vdev, image)


def _has_place(view: View, path: str) -> bool:
    """Whether a disk, a snapshot or the store names this image, so that all who know it can be told another name."""
    return _is_active(view, path) or bool(_holders(view, path)) or any(base.path == path for base in view.state.hidden)


def _is_active(view: View, path: str) -> bool:
    return any(disk.path == path for disk in view.domain.disks)


def _ours(view: View, image: Image) -> bool:
    entry = view.state.made(image.layer.path)
    return entry is not None and entry.inode == image.file.inode
