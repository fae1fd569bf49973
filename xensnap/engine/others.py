"""What the other domains of a host need and may change: nothing that they stand on may be removed or written to.

Two are neighbours where an operation on either may change an image that the other needs. One that neither has ever
frozen or writes to, such as a template below many disks, is changed by nobody and makes no neighbours.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from xensnap.engine import formers, records
from xensnap.engine.records import Contents
from xensnap.engine.state import DomainState
from xensnap.engine.unborn import unborn
from xensnap.errors import Damaged, NotFound, Refused, XensnapError
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain, DomainUuid, FileId, Format, Image, Layer, Snapshot


class Reach(msgspec.Struct):
    """The images that a domain needs, and those of them that an operation on it may write, freeze or remove."""

    needs: set[FileId]
    changes: set[FileId]

    @classmethod
    def of(cls, images: Mapping[str, Image | None], changeable: Collection[str]) -> "Reach":
        """That of images by their paths, of which some may be changed."""
        there = {path: image.file for path, image in images.items() if image is not None}
        return cls(set(there.values()), {file for path, file in there.items() if path in changeable})

    def add(self, other: "Reach") -> None:
        """Needs and changes that, too."""
        self.needs |= other.needs
        self.changes |= other.changes

    def meets(self, other: "Reach") -> bool:
        """Whether either may change what the other needs."""
        return not (self.changes.isdisjoint(other.needs) and self.needs.isdisjoint(other.changes))


class Others(msgspec.Struct, frozen=True):
    """Images of the other domains: in the chains of disks that they write and in their stores, or only read.

    `images` are those of them that could be read, by path, as they were.
    """

    known: tuple[Domain, ...]
    stores: dict[DomainUuid, Contents]
    written: dict[FileId, str] = {}
    read: dict[FileId, str] = {}
    unseen: list[str] = []
    reach: dict[DomainUuid, Reach] = {}
    images: dict[str, Image] = {}

    @property
    def names(self) -> frozenset[str]:
        """What they are called."""
        return frozenset(other.name for other in self.known)

    def sharing_with(self, reach: Reach) -> tuple[DomainUuid, ...]:
        """The neighbours of a domain of this reach, in order."""
        return tuple(sorted(uuid for uuid, theirs in self.reach.items() if theirs.meets(reach)))

    def stands_on(self, uuid: DomainUuid, who: str, images: Mapping[str, Image | None], changeable: set[str]) -> None:
        """Note the images of a store, by their paths."""
        reach = Reach.of(images, changeable)
        self.written.update(dict.fromkeys(reach.needs, who))
        self.images.update({path: image for path, image in images.items() if image is not None})
        self.reach.setdefault(uuid, Reach(set(), set())).add(reach)


async def others_than(host: Hypervisor, uuid: DomainUuid, known: Iterable[Domain]) -> Others:
    """All that is known of other domains, also of those that only their stores tell of. Changes nothing.

    Args:
        host: where.
        uuid: of the domain that is left out.
        known: the domains that the host knows.
    """
    known = tuple(known)
    nobodys = {of: contents for of, contents in (await formers.of_nobody(host, known)).items() if of != uuid}
    found = Others(tuple(other for other in known if other.uuid != uuid), dict(nobodys))
    for of, contents in nobodys.items():
        who = f"{contents.state.domain_name or 'somebody'} ({host.root}/{of}, whom the host does not know)"
        found.stands_on(of, who, await images_of(host, contents.state, kept_in(contents)), changeable_in(contents))
    for making in await unborn(host, known):
        if making.domain_uuid != uuid:
            images = await images_of(host, making.state, ())
            found.stands_on(DomainUuid(making.domain_uuid), making.domain_name, images, _changeable(making.state, ()))
    for other in found.known:
        for disk in other.disks:
            chain = await _chain_of(host, disk.layer) if disk.path else []
            files = [image.file for image in chain]
            found.images.update({image.layer.path: image for image in chain})
            (found.read if disk.readonly else found.written).update(dict.fromkeys(files, other.name))
            active = set() if disk.readonly else set(files[:1])
            found.reach.setdefault(other.uuid, Reach(set(), set())).add(Reach(set(files), active))
        try:
            contents = await records.load(host, other.uuid)
        except XensnapError:
            found.unseen.append(other.name)
            continue
        found.stores[other.uuid] = contents
        if contents.damaged:
            found.unseen.append(other.name)
        images = await images_of(host, contents.state, kept_in(contents))
        found.stands_on(other.uuid, other.name, images, changeable_in(contents))
    return found


class Needs:
    """What others than one domain need now, for whoever asks again and again.

    The locks of those that share images with it are held meanwhile. What no lock keeps off is that a domain is defined
    or ended by hand, gets or loses a disk, or has an image put on another one: so the host is asked each time which
    domains there are, the header of each image of theirs is read again, and only where something has changed all of
    them are looked at anew, their records, too.

    Args:
        host: where.
        uuid: of the domain that is left out.
    """

    def __init__(self, host: Hypervisor, uuid: DomainUuid) -> None:
        self._host = host
        self._uuid = uuid
        self._known: tuple[Domain, ...] | None = None
        self._users: Mapping[FileId, str] = {}
        self._images: Collection[Image] = ()

    async def user_of(self, file: FileId) -> str:
        """The name of a domain that stands on this image or reads it; empty where none does. Changes nothing."""
        await self.look()
        return self._users.get(file, "")

    async def look(self) -> None:
        """Look at all of them, if there is anything else than when they were looked at last. Changes nothing."""
        known = tuple(await self._host.toolstack.domains())
        if known != self._known or await self._moved():
            others = await others_than(self._host, self._uuid, known)
            self._users = others.read | others.written
            self._images = others.images.values()
            self._known = known

    async def _moved(self) -> bool:
        """Whether an image of theirs is another file by now, or stands on another one."""
        for image in self._images:
            now = await inspected(self._host, image.layer)
            if now is None or (now.file, now.backing) != (image.file, image.backing):
                return True
        return False


async def images_of(
    host: Hypervisor, state: DomainState, snapshots: Iterable[Snapshot], known: Mapping[str, Image | None] = {}
) -> dict[str, Image | None]:
    """The images that a store tells of, besides those that are known, by path; None where one cannot be read.

    They are branches that were left, hidden bases, overlays, and all that these stand on.
    """
    images: dict[str, Image | None] = dict(known)
    layers = list(_layers(state, snapshots))
    while layers:
        layer = layers.pop()
        if layer.path not in images:
            image = images[layer.path] = await inspected(host, layer)
            if image is not None and image.backing is not None:
                layers.append(Layer(image.backing.path, image.backing.format or Format.RAW))
    return images


def kept_in(contents: Contents) -> tuple[Snapshot, ...]:
    """The snapshots, those in the trash, which need their images as much, and those that were let go."""
    thrown = (each.snapshot for each in contents.trashed.values())
    return (*contents.snapshots.values(), *thrown, *contents.state.let_go)


def changeable_in(contents: Contents, domain: Domain | None = None) -> set[str]:
    """The paths of the images that an operation may change: those that the store names, and what a domain writes to."""
    written = {disk.path for disk in domain.disks if disk.path and not disk.readonly} if domain else set()
    return _changeable(contents.state, kept_in(contents)) | written


def _changeable(state: DomainState, snapshots: Iterable[Snapshot]) -> set[str]:
    return {layer.path for layer in _layers(state, snapshots)}


def _layers(state: DomainState, snapshots: Iterable[Snapshot]) -> tuple[Layer, ...]:
    """What a store names."""
    return (
        *(disk.image for snapshot in snapshots for disk in snapshot.disks),
        *(base.layer for base in state.hidden),
        # Also overlays of ours that no disk uses now: a disk that was detached may come back, and needs what it has.
        *(Layer(entry.path, Format.QCOW2) for entry in state.ours if entry.role == "overlay"),
    )


async def inspected(host: Hypervisor, layer: Layer) -> Image | None:
    """The image, or None where it cannot be read."""
    try:
        return await host.images.inspect(layer)
    except (NotFound, Damaged, Refused):
        return None


async def _chain_of(host: Hypervisor, layer: Layer) -> list[Image]:
    """All images of a chain, as far down as they can be followed: also where a header does not tell a format."""
    found: list[Image] = []
    while (image := await inspected(host, layer)) is not None and image.file not in [each.file for each in found]:
        found.append(image)
        backing = image.backing
        if backing is None or not backing.path:
            break
        layer = Layer(backing.path, backing.format or Format.QCOW2)
        if backing.format is None and await inspected(host, layer) is None:
            layer = Layer(backing.path, Format.RAW)  # only its identity is looked at
    return found
