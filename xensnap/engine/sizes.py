"""How much space snapshots take, and how much of it comes back when one goes. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from xensnap.engine import given_up
from xensnap.engine.collect import standing_on
from xensnap.engine.seen import Maps, Stretch, composed, differing, layers_now, layers_then, length
from xensnap.engine.view import View, with_current
from xensnap.model import ZEROS, DiskSnapshot, Extent, Image, Kind


class Space(msgspec.Struct, frozen=True):
    """Bytes of storage: all that is held, what nobody else holds, too, and what comes back with a deletion."""

    held_bytes: int = 0
    exclusive_bytes: int = 0
    reclaimable_bytes: int = 0

    @property
    def shared_bytes(self) -> int:
        """What others hold, too."""
        return self.held_bytes - self.exclusive_bytes

    def __add__(self, other: "Space") -> "Space":
        return Space(
            self.held_bytes + other.held_bytes,
            self.exclusive_bytes + other.exclusive_bytes,
            self.reclaimable_bytes + other.reclaimable_bytes,
        )


class SpaceUsed(msgspec.Struct, frozen=True):
    """The space of a domain's snapshots.

    `disks` is by snapshot and disk, `memory` by snapshot. `since` is how much of each disk is not what it was at the
    current snapshot; a disk that cannot be compared has no entry. `hidden_bytes` are held by images of snapshots that
    are gone.
    """

    disks: Mapping[str, Mapping[str, Space]]
    memory: Mapping[str, int]
    since: Mapping[str, int]
    hidden_bytes: int

    def of(self, name: str) -> Space:
        """All of one snapshot."""
        memory = self.memory.get(name, 0)
        return sum(self.disks.get(name, {}).values(), Space(memory, memory, memory))


def held_bytes(view: View) -> dict[str, int]:
    """What each snapshot keeps files for: its memory and the images that were frozen for it. Costs no further look."""
    return {
        name: view.memories.get(name, 0)
        + sum(
            image.allocated_bytes
            for disk in snapshot.disks
            if disk.kind is Kind.EXTERNAL and (image := view.images.get(disk.image.path)) is not None
        )
        for name, snapshot in view.snapshots.items()
    }


def usage(view: View, maps: Maps) -> SpaceUsed:
    """Measure all snapshots of a domain.

    Args:
        view: what was observed.
        maps: the clusters of all images in it; one that is missing counts as empty.

    What a revert gave up holds nobody's space back: it goes as soon as it is in the way.
    """
    view = given_up.without(view)
    sole = {path: _sole_bytes(states) for path, states in maps.items()}
    return SpaceUsed(
        disks={
            name: {disk.vdev: _space(view, maps, sole, disk) for disk in snapshot.disks}
            for name, snapshot in view.snapshots.items()
        },
        memory=dict(view.memories),
        since=since(view, maps),
        hidden_bytes=sum(
            image.allocated_bytes
            for path in sorted({base.path for base in view.state.hidden})
            if (image := view.images.get(path)) is not None and path not in {disk.path for disk in view.domain.disks}
        ),
    )


def since(view: View, maps: Maps) -> dict[str, int]:
    """How many bytes of each disk are not what they were at the current snapshot."""
    current = with_current(view)
    found: dict[str, int] = {}
    for disk in view.snapshots[current].disks if current else ():
        chain = view.chain(disk.vdev)
        then = layers_then(view, disk)
        if chain and then:
            size = max(disk.size_bytes, chain.active.virtual_size_bytes)
            now = composed(maps, layers_now(view, disk.vdev))
            found[disk.vdev] = length(differing(now, composed(maps, then), size_bytes=size))
    return found


def _space(view: View, maps: Maps, sole: Mapping[str, Mapping[str, int]], disk: DiskSnapshot) -> Space:
    image = view.images.get(disk.image.path)
    if image is None:
        return Space()
    if disk.kind is Kind.INTERNAL:
        state = disk.fingerprint.snapshot_id
        held = sum(extent.length_bytes for extent in maps.get(disk.image.path, {}).get(state, ()) if extent.place >= 0)
        alone = sole.get(disk.image.path, {}).get(state, 0)
        return Space(held, alone, alone)
    return _frozen(view, maps, image)


def _frozen(view: View, maps: Maps, image: Image) -> Space:
    """A frozen image: who stands on it sees all of it that it has not written itself."""
    above = standing_on(view, image.layer.path)
    held = image.allocated_bytes
    if not above:
        entry = view.state.made(image.layer.path)
        ours = entry is not None and entry.inode == image.file.inode
        return Space(held, held, held if ours else 0)
    hidden = _stretches(maps, image)
    for one in above:
        hidden = _common(hidden, _stretches(maps, one))
    alone = min(held, length(hidden))
    return Space(held, alone, alone if len(above) == 1 else 0)


def _stretches(maps: Maps, image: Image) -> list[Stretch]:
    extents = maps.get(image.layer.path, {}).get("", ())
    return [Stretch(extent.start_bytes, extent.start_bytes + extent.length_bytes) for extent in extents]


def _common(one: Sequence[Stretch], other: Sequence[Stretch]) -> list[Stretch]:
    """What is in both; each is in order."""
    found: list[Stretch] = []
    at = 0
    for stretch in one:
        while at < len(other) and other[at].end <= stretch.start:
            at += 1
        ahead = at
        while ahead < len(other) and other[ahead].start < stretch.end:
            found.append(Stretch(max(stretch.start, other[ahead].start), min(stretch.end, other[ahead].end)))
            ahead += 1
    return found


def _sole_bytes(states: Mapping[str, tuple[Extent, ...]]) -> dict[str, int]:
    """Bytes of the clusters that only one state of an image has, by that state. Goes through all borders in order."""
    if len(states) == 1:
        return {}
    events: list[tuple[int, int, str]] = []
    for state, extents in states.items():
        for extent in extents:
            if extent.place != ZEROS:
                events += [(extent.place, 1, state), (extent.place + extent.length_bytes, -1, state)]
    events.sort()
    found: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    before = 0
    for place, change, state in events:
        holding = [name for name, count in holders.items() if count]
        if len(holding) == 1:
            found[holding[0]] += place - before
        holders[state] += change
        if not holders[state]:
            del holders[state]
        before = place
    return dict(found)
