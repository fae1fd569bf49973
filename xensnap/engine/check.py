"""Whether a domain can be snapshotted, in each way there is, with every reason against it. Pure: only planners run."""

import msgspec

from xensnap.engine import disks
from xensnap.engine.create import plan_create
from xensnap.engine.live import HAS_MEMORY
from xensnap.engine.request import CreateRequest, DiskChoice, Fresh
from xensnap.engine.view import DiskView, View
from xensnap.errors import Reason, Refused
from xensnap.model import Kind

_FRESH = Fresh("00000000-0000-0000-0000-000000000000", 0)


class Mode(msgspec.Struct, frozen=True):
    """A way to take a snapshot, by the options that ask for it, and all reasons against it."""

    name: str
    options: str
    reasons: tuple[Reason, ...]

    @property
    def possible(self) -> bool:
        """Whether nothing is in the way."""
        return not self.reasons


class DiskFitness(msgspec.Struct, frozen=True):
    """What can be done with one disk. `outside` says why it is no part of any snapshot; then the rest is empty."""

    vdev: str
    outside: str = ""
    kind: Kind | None = None
    reasons: tuple[tuple[Kind, tuple[Reason, ...]], ...] = ()


class Fitness(msgspec.Struct, frozen=True):
    """A domain's disks and ways, the usual way first: the one that `create` without options takes."""

    disks: tuple[DiskFitness, ...]
    modes: tuple[Mode, ...]


def fitness(view: View) -> Fitness:
    """Judge a domain as it is now."""
    requests = [("disks", "--disk-only", CreateRequest(disk_only=True))]
    if view.domain.state in HAS_MEMORY:
        requests = [
            ("disks and memory", "", CreateRequest()),
            ("disks and memory, live", "--live", CreateRequest(live=True)),
            *requests,
        ]
    else:
        requests[0] = ("disks", "", CreateRequest())
    for kind in Kind:
        options = f"--disk-only --type {kind}"
        requests.append((f"disks, all {kind}", options, CreateRequest(disk_only=True, kind=kind)))
    modes = tuple(Mode(name, options, _against(view, request)) for name, options, request in requests)
    return Fitness(tuple(_disk(view, disk_view) for disk_view in view.disks), modes)


def _against(view: View, request: CreateRequest) -> tuple[Reason, ...]:
    try:
        plan_create(view, request, _FRESH)
    except Refused as error:
        return error.reasons
    return ()


def _disk(view: View, disk_view: DiskView) -> DiskFitness:
    vdev = disk_view.disk.vdev
    outside = disks.outside(disk_view, DiskChoice())
    if outside:
        return DiskFitness(vdev, outside)
    reasons = tuple((kind, tuple(disks.against(view, disk_view, kind))) for kind in Kind)
    return DiskFitness(vdev, kind=disks.usual_kind(view, disk_view), reasons=reasons)
