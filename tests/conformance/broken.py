"""Hosts that are broken on purpose, each in one way, for the cases to find."""

from collections.abc import Callable
from typing import Any

from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.workplace import Workplace
from xensnap.errors import Failed
from xensnap.hypervisor import Capability


class Without:
    """Stands before a port and does some of its methods otherwise."""

    def __init__(self, port: Any, **instead: Any) -> None:
        self._port = port
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._port, name)


async def _nothing(*_: object, **__: object) -> None:
    return None


async def _yes(*_: object, **__: object) -> bool:
    return True


def _place(port: str, seed: int, **instead: Any) -> Workplace:
    place = SimulatedPlace(seed)
    setattr(place.host, port, Without(getattr(place.host, port), **instead))
    return place


def applies_nothing(seed: int) -> Workplace:
    """A host whose images never go back to an internal snapshot, without a word, and which says that they are there."""
    return _place("images", seed, snapshot_apply=_nothing, is_at=_yes)


def merges_nothing(seed: int) -> Workplace:
    """A host that throws overlays away without having merged them."""
    return _place("images", seed, commit=_nothing)


def locks_nobody_out(seed: int) -> Workplace:
    """A host whose locks lock nobody out."""
    place = SimulatedPlace(seed)
    files = place.host.files

    class Open:
        async def release(self) -> None:
            """Nothing was locked."""

    async def lock(path: str, *, note: bytes, wait_s: float = 0.0) -> Open:
        del path, note, wait_s
        return Open()

    place.host.files = Without(files, lock=lock)
    return place


def leaves_everything_readable(seed: int) -> Workplace:
    """A host that makes its files readable by everybody."""
    place = SimulatedPlace(seed)
    files = place.host.files

    async def create(path: str, data: bytes = b"", *, mode: int = 0o600) -> None:
        await files.create(path, data, mode=mode | 0o044)

    async def replace(path: str, data: bytes, *, mode: int = 0o600) -> None:
        await files.replace(path, data, mode=mode | 0o044)

    place.host.files = Without(files, create=create, replace=replace)
    return place


def snapshots_after_the_guest_went_on(seed: int) -> Workplace:
    """A host that takes the points of the disks only when the guest runs again: memory and disks of two moments."""
    place = SimulatedPlace(seed)
    toolstack, blocks = place.host.toolstack, place.host.blocks

    async def transaction(domain: Any, actions: Any) -> None:
        here = await toolstack.inspect(domain.uuid)
        for _ in range(3):
            if here.state == "paused":
                await toolstack.unpause(here)
                await place.host.machine.sleep(0.05)
                name = here.name
                place._sim.guest_writes(name, here.disks[0].vdev, 0, 65536, flush=True)
                await blocks.transaction(here, actions)
                await toolstack.pause(here)
                return
        await blocks.transaction(domain, actions)

    place.host.blocks = Without(blocks, transaction=transaction)
    return place


def declares_what_it_cannot(seed: int) -> Workplace:
    """A host that says that it can freeze images, and cannot."""

    async def create_overlay(*_: object, **__: object) -> None:
        raise Failed("no overlays here")

    return _place("images", seed, create_overlay=create_overlay)


def copies_out_what_is_now(seed: int) -> Workplace:
    """A host that, asked for a copy of a snapshot, copies what the image shows now."""
    place = SimulatedPlace(seed)
    images = place.host.images

    async def copy_out(layer: Any, *, snapshot_id: str = "", to: str, shared: bool = False) -> None:
        del snapshot_id
        await images.copy_out(layer, to=to, shared=shared)

    place.host.images = Without(images, copy_out=copy_out)
    return place


def tells_no_clusters(seed: int) -> Workplace:
    """A host that finds no data in any image."""

    async def extents(_: object) -> dict[str, tuple[object, ...]]:
        return {}

    return _place("images", seed, extents=extents)


def can_only_work_on_disks_inside(seed: int) -> Workplace:
    """An honest host: it declares little, and is refused the rest."""
    place = SimulatedPlace(seed)
    place.host.capabilities = frozenset({Capability.INTERNAL})
    return place


BROKEN: dict[Callable[[int], Workplace], str] = {
    applies_nothing: "core/disks-come-back",
    merges_nothing: "external/a-snapshot-can-go-from-anywhere-in-the-chain",
    locks_nobody_out: "safety/who-holds-a-domain-is-named",
    leaves_everything_readable: "metadata/records-are-private",
    snapshots_after_the_guest_went_on: "memory/memory-and-disks-are-of-one-moment",
    declares_what_it_cannot: "external/disks-come-back-from-frozen-images",
    copies_out_what_is_now: "core/a-clone-is-a-domain-of-its-own",
    tells_no_clusters: "metadata/the-space-of-a-snapshot-is-told",
}
"""Each with a case that must find it."""
