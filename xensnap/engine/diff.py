"""What is different between two states of a domain: blocks of its disks, and its configuration. Pure."""

import msgspec

from xensnap.engine.revert import find
from xensnap.engine.seen import LayerState, Maps, Stretch, composed, differing, layers_now, layers_then
from xensnap.engine.view import View

NOW = ""
"""Stands for the domain as it is, where a name stands for a snapshot."""


class DiskDiff(msgspec.Struct, frozen=True):
    """One disk. Sizes are None where that state does not have it; `problem` tells why blocks cannot be compared."""

    vdev: str
    before_bytes: int | None
    after_bytes: int | None
    stretches: tuple[Stretch, ...] = ()
    problem: str = ""


class Difference(msgspec.Struct, frozen=True):
    """Everything that is different. Configurations are the toolstack's texts, which may be empty."""

    disks: tuple[DiskDiff, ...]
    before_configuration: str
    after_configuration: str


def difference(view: View, maps: Maps, before: str, after: str = NOW) -> Difference:
    """Compare two states.

    Args:
        view: what was observed.
        maps: the clusters of its images.
        before: a snapshot.
        after: another one, or `NOW`.

    Raises:
        NotFound: there is no such snapshot.
    """
    vdevs = dict.fromkeys((*_vdevs(view, before), *_vdevs(view, after)))
    return Difference(
        tuple(_disk(view, maps, vdev, before, after) for vdev in vdevs),
        _configuration(view, before),
        _configuration(view, after),
    )


def _vdevs(view: View, state: str) -> list[str]:
    if state == NOW:
        return [disk.vdev for disk in view.domain.disks if disk.path and not disk.cdrom]
    return [disk.vdev for disk in find(view, state).disks]


def _configuration(view: View, state: str) -> str:
    return view.configuration if state == NOW else find(view, state).domain_config


def _disk(view: View, maps: Maps, vdev: str, before: str, after: str) -> DiskDiff:
    sizes = _size(view, vdev, before), _size(view, vdev, after)
    if None in sizes:
        return DiskDiff(vdev, *sizes)
    layers = _layers(view, vdev, before), _layers(view, vdev, after)
    missing = [layer.path for layer in (*layers[0], *layers[1]) if layer.path not in maps]
    if missing or not all(layers):
        return DiskDiff(vdev, *sizes, problem=f"{(missing or ['an image'])[0]} cannot be read")
    shown = composed(maps, layers[0]), composed(maps, layers[1])
    common = min(size for size in sizes if size is not None)
    return DiskDiff(vdev, *sizes, stretches=tuple(differing(*shown, size_bytes=common)))


def _size(view: View, vdev: str, state: str) -> int | None:
    if state != NOW:
        disk = find(view, state).disk(vdev)
        return disk.size_bytes if disk else None
    chain = view.chain(vdev)
    if chain is not None:
        return chain.active.virtual_size_bytes
    return 0 if view.domain.disk(vdev) else None


def _layers(view: View, vdev: str, state: str) -> tuple[LayerState, ...]:
    if state == NOW:
        return layers_now(view, vdev)
    disk = find(view, state).disk(vdev)
    return layers_then(view, disk) if disk else ()
