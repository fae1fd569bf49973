"""What must not be done to an image that is open, since somebody stands on it or works on it, and what QEMU says then.

As `block.c`, `blockjob.c` and the jobs of QEMU 7.2.22 have it. Two kinds of holders block nearly everything that is
done to a node: the image above it, and a job, also one that is over, until it is dismissed. Of several the one that
came last is named. Whether anything of a device or a job reads or writes the node is another question.
"""

from simulator.qemu.board import Place, by_device, found, places
from simulator.qemu.graph import BlockJob, Qemu
from simulator.qemu.jobs import COMMIT, STREAM
from simulator.qemu.points import QmpError


def called(qemu: Qemu, place: Place, asked: str | None) -> str:
    """What a message calls a node: a device stands on the filter of a job above it, and is told if it was asked for."""
    if asked is not None and by_device(qemu, asked):
        return asked
    return place.node.name if qemu.filtering(place.node.name) else place.called


def standing_on(qemu: Qemu, name: str) -> str:
    """What messages call the node that has this one as its backing file; empty where there is none."""
    if qemu.filtering(name):
        return ""
    for place in places(qemu):
        if place.at and place.node.name == name:
            return place.node.below or place.drive.chain[place.at - 1].name
    return ""


def root(qemu: Qemu, name: str) -> Place:
    """A device or node that nothing but devices stand on."""
    place = found(qemu, name, name)
    node = place.node.name
    if place.file or qemu.holding(node) or qemu.filtering(node) or standing_on(qemu, node):
        raise QmpError("Need a root block node")
    return place


def busy(qemu: Qemu, place: Place, asked: str | None) -> str:
    """Why nothing may be done to this node, in QEMU's words; empty where it may.

    Args:
        asked: how it was asked for.
    """
    name = place.node.name
    job, upper = qemu.holding(name), standing_on(qemu, name)
    if not job and not upper:
        return ""
    # What stands on these two has been hung there by the job at its end; anything else was there before.
    anew = job is not None and job.over and name == (job.source if job.kind == STREAM else job.target)
    if job and not (upper and anew):
        return _in_use(called(qemu, place, asked), job)
    return f"Node '{called(qemu, place, asked)}' is busy: node is used as backing hd of '{upper}'"


def busy_within(qemu: Qemu, place: Place, end: int, asked: str | None, *, above_end: bool = False) -> str:
    """Why no job may begin on the chain from this node down to the one before `end`; empty where one may.

    What stands on an image is in nobody's way here; a filter between two images is held like them.

    Args:
        asked: how the first one was asked for.
        above_end: whether a filter that stands above the one at `end` is among them.
    """
    for at in range(place.at, min(end + above_end, len(place.drive.chain))):
        here = Place(place.drive, at)
        from_device = at == place.at and asked is not None and by_device(qemu, asked) is not None
        job = qemu.filtering(here.node.name)
        # A commit that ends below the root holds the root in the place of its filter.
        if job and (job.kind == STREAM or not at) and (at > place.at or from_device):
            return _in_use(asked if from_device and asked else job.filter_name, job)
        job = qemu.holding(here.node.name)
        if job and at < end:
            return _in_use(called(qemu, here, asked if at == place.at else None), job)
    return ""


def _in_use(name: str, job: BlockJob) -> str:
    return f"Node '{name}' is busy: block device is in use by block job: {job.kind}"


def unreadable(qemu: Qemu, place: Place, end: int, job_id: str) -> str:
    """Why a commit may not pass over what lies below this node and above the one at `end`; empty where it may.

    Somebody else reads that, and it will be no content of a disk until the commit is done.
    """
    for at in range(place.at + 1, end):
        name, upper = place.drive.chain[at].name, place.drive.chain[at - 1].name
        for other in places(qemu):
            above = other.drive.chain[other.at - 1] if other.at and other.node.name == name else None
            if above and above.name != upper and read(qemu, Place(other.drive, other.at - 1)):
                return (
                    f"Permission conflict on node '{name}': permissions 'consistent read' are both required by node "
                    f"'{above.name}' (uses node '{name}' as 'backing' child) and unshared by commit job '{job_id}' "
                    f"(uses node '{name}' as 'intermediate node' child)."
                )
    return ""


def backed(qemu: Qemu, place: Place) -> bool:
    """Whether a device, or a commit by itself, stands on this very node rather than on a filter above it."""
    name = place.node.name
    if any(job.kind == COMMIT and not job.over and name == job.target for job in qemu.jobs):
        return True
    filtering = qemu.filtering(name)
    if filtering:
        return filtering.kind == COMMIT and place.at > 0
    return place.drive.attached and not place.at


def read(qemu: Qemu, place: Place) -> bool:
    """Whether somebody takes what this node shows for the content of a disk."""
    name = place.node.name
    if filtering := qemu.filtering(name):
        return filtering.kind == STREAM
    above = [each for each in places(qemu) if each.at and each.node.name == name]
    if not above:
        return place.drive.attached
    # A commit of the root only writes into its target; one that ends below the root reads it, too.
    committed = [job for job in qemu.jobs if job.kind == COMMIT and not job.over and job.target == name]
    sources = {job.source for job in committed}
    return any(each.at and each.node.name in sources for each in places(qemu)) or any(
        read(qemu, Place(each.drive, each.at - 1)) for each in above
    )
