"""One name for each file: what planners compare are paths, and one file can be spelled in several ways.

A domain file says `./disk.qcow2`, the host's directory is reached through a link today and was not yesterday, an image
is a link: what the store calls a file is what it is called everywhere. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from xensnap.engine.state import DomainState
from xensnap.model import Backing, Chain, Disk, DiskSnapshot, FileId, Image, Layer, Snapshot

if TYPE_CHECKING:
    from xensnap.engine.view import DiskView, View


def one_name_each(view: "View") -> "View":
    """The view with every path of a file replaced by the first that the ledger, the records or the disks have."""
    names: dict[FileId, str] = {}
    for path in _paths(view):
        image = view.images.get(path)
        if image is not None:
            names.setdefault(image.file, path)
    spelled = {path: names[image.file] for path, image in view.images.items() if image and image.file in names}
    spelled |= {path: names[file] for path, file in view.opened.files.items() if file in names}
    if all(path == name for path, name in spelled.items()):
        return view
    return replace(
        view,
        domain=replace(view.domain, disks=tuple(_disk(disk, spelled) for disk in view.domain.disks)),
        state=_state(view.state, spelled),
        spelled=spelled,
        snapshots={name: snapshot_as(snapshot, spelled) for name, snapshot in view.snapshots.items()},
        trashed={
            name: replace(each, snapshot=snapshot_as(each.snapshot, spelled)) for name, each in view.trashed.items()
        },
        disks=tuple(_disk_view(disk, spelled) for disk in view.disks),
        images={spelled.get(path, path): image and _image(image, spelled) for path, image in view.images.items()},
        opened=view.opened.spelled(spelled),
        generations={spelled.get(path, path): number for path, number in view.generations.items()},
    )


def _paths(view: "View") -> Iterator[str]:
    """All paths, the ones that shall win first: what may be unlinked, what snapshots hold, what disks are."""
    yield from (entry.path for entry in view.state.ours)
    yield from (base.path for base in view.state.hidden)
    yield from (disk.image.path for snapshot in view.snapshots.values() for disk in snapshot.disks)
    yield from (disk.image.path for each in view.trashed.values() for disk in each.snapshot.disks)
    yield from (disk.image.path for snapshot in view.state.let_go for disk in snapshot.disks)
    yield from (disk.path for disk in view.domain.disks)
    yield from view.images


def _layer(layer: Layer, spelled: Mapping[str, str]) -> Layer:
    return Layer(spelled.get(layer.path, layer.path), layer.format)


def _disk(disk: Disk, spelled: Mapping[str, str]) -> Disk:
    return replace(disk, path=spelled.get(disk.path, disk.path))


def _disk_view(view: "DiskView", spelled: Mapping[str, str]) -> "DiskView":
    chain = Chain(tuple(_image(image, spelled) for image in view.chain)) if view.chain else None
    return replace(view, disk=_disk(view.disk, spelled), chain=chain)


def _image(image: Image, spelled: Mapping[str, str]) -> Image:
    below = image.backing
    backing = below and Backing(below.name, spelled.get(below.path, below.path), below.format)
    return replace(image, layer=_layer(image.layer, spelled), backing=backing)


def _state(state: DomainState, spelled: Mapping[str, str]) -> DomainState:
    ours = {spelled.get(entry.path, entry.path): entry for entry in reversed(state.ours)}
    hidden = {spelled.get(base.path, base.path): base for base in reversed(state.hidden)}
    return msgspec.structs.replace(
        state,
        ours=tuple(msgspec.structs.replace(entry, path=path) for path, entry in reversed(ours.items())),
        hidden=tuple(msgspec.structs.replace(base, path=path) for path, base in reversed(hidden.items())),
        let_go=tuple(snapshot_as(snapshot, spelled) for snapshot in state.let_go),
    )


def snapshot_as(snapshot: Snapshot, spelled: Mapping[str, str]) -> Snapshot:
    """What a record says, with the names that its files have in a view: those of `View.spelled`."""
    return replace(snapshot, disks=tuple(_disk_snapshot(disk, spelled) for disk in snapshot.disks))


def _disk_snapshot(disk: DiskSnapshot, spelled: Mapping[str, str]) -> DiskSnapshot:
    backing = disk.fingerprint.backing
    return replace(
        disk,
        image=_layer(disk.image, spelled),
        overlay=disk.overlay and _layer(disk.overlay, spelled),
        fingerprint=replace(disk.fingerprint, backing=spelled.get(backing, backing)),
    )
