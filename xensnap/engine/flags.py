"""What a domain starts from that only its operator can change: pure decisions about frozen images and their flag.

xl keeps no description of a domain that is off. It is started from a file of the operator's, which goes on naming the
image that an external snapshot has frozen. The immutable flag makes such a start harmless for the image, and what to
write into the file is told.
"""

from collections.abc import Iterable, Iterator, Mapping

from xensnap.engine import plan as plans
from xensnap.engine.flag_steps import Freeze, Thaw
from xensnap.engine.overlay_steps import CommitDown, PullUp, Reback, RemoveImage
from xensnap.engine.pivot_steps import CopyDown
from xensnap.engine.steps import Step
from xensnap.engine.view import View
from xensnap.errors import Reason
from xensnap.hypervisor import Capability
from xensnap.model import DescribedBy, Layer, RunState


def against(view: View, overlays: Mapping[str, str]) -> Iterator[Reason]:
    """A frozen image that a start from the operator's file would write to, with nothing to stop it."""
    if overlays and elsewhere(view) and Capability.IMMUTABLE not in view.capabilities:
        old = ", ".join(_path(view, vdev) for vdev in overlays)
        cause = (
            f"{view.domain.name} is started from a file of yours, and nothing here can keep a start from it off {old}"
        )
        remedy = "Keep the images where files can carry the immutable flag (ext4, xfs, btrfs), and work as root."
        yield Reason("next-start-elsewhere", cause, remedy)


def freeze(view: View, overlays: Mapping[str, str], *, accepted: Iterable[str]) -> tuple[Freeze, ...]:
    """The steps that let nobody write to what these disks (by vdev) stood on until now, below these overlays."""
    if not elsewhere(view):
        return ()
    required = "next-start-elsewhere" not in accepted
    return tuple(Freeze(_path(view, vdev), vdev, overlay, required) for vdev, overlay in overlays.items())


def risked(frozen: Iterable[Freeze]) -> Iterator[str]:
    """The risk, where an image may go without a flag that its own file system turns out not to have."""
    if not all(step.required for step in frozen):
        yield "next-start-elsewhere"


def around(
    view: View, prepare: tuple[Step, ...], finish: tuple[Step, ...], gone: tuple[str, ...]
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The same steps, with flags cleared before images are written or removed, and set again where they stay frozen.

    Args:
        view: what was observed.
        prepare: steps before the decision.
        finish: steps after it.
        gone: hidden bases that are none any more.
    """
    if not elsewhere(view):
        return prepare, finish
    # A disk that was detached has left its frozen images behind, flag and all.
    vdevs = {disk.vdev for disk in view.domain.disks} | {base.vdev for base in view.state.hidden}
    vdevs |= {disk.vdev for snapshot in view.snapshots.values() for disk in snapshot.disks}
    frozen = {path for vdev in vdevs for path in view.frozen(vdev)}
    stay: set[str] = set()
    change = set(gone)
    for step in plans.each((*prepare, *finish)):
        if isinstance(step, CommitDown):
            change.add(step.base.path)
            stay |= set() if step.domain_uuid else {step.base.path}
        elif isinstance(step, CopyDown):
            change.add(step.base.path)
            stay |= {step.base.path} if step.above else set()
        elif isinstance(step, PullUp | Reback):
            change.add(step.layer.path)
            stay.add(step.layer.path)
        elif isinstance(step, RemoveImage):
            change.add(step.layer.path)
    thaw = tuple(Thaw(path) for path in sorted(change & frozen))
    again = tuple(Freeze(path, required=False) for path in sorted(stay & frozen))
    return (*thaw, *prepare), (*finish, *again)


def released(view: View, overlay: Layer) -> tuple[Step, ...]:
    """The flag of an overlay that a running guest was taken from is cleared when nobody has the overlay open."""
    if not elsewhere(view) or view.domain.state is RunState.OFF:
        return ()
    return (Thaw(overlay.path, closed=overlay),)


def advice(view: View, layers: Mapping[str, Layer]) -> tuple[str, ...]:
    """What the operator has to write into his own file about disks (by vdev) that have another active layer now."""
    if not elsewhere(view):
        return ()
    return tuple(
        f"{vdev}: put it into the file that you start {view.domain.name} from: "
        f"'format={layer.format}, vdev={vdev}, access=rw, target={layer.path}'"
        for vdev, layer in layers.items()
    )


def elsewhere(view: View) -> bool:
    """Whether a file that only the operator can change says what the domain starts from."""
    return view.domain.described_by is DescribedBy.OPERATOR


def _path(view: View, vdev: str) -> str:
    disk = view.domain.disk(vdev)
    assert disk is not None, "planned for disks of the domain"
    return disk.path
