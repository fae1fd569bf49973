"""Damage: what operators, strange tools and failing disks do to a host behind our back. Plans of it are data.

Nothing here is an effect of ours, and nothing of it happens in an order that a crash could explain.
"""

import json
from errno import ENOENT
from typing import Any

import msgspec

from simulator.disk.content import EMPTY, SECTOR
from simulator.disk.files import Inode, Stored, length
from simulator.disk.filesystem import FileSystem, failed
from simulator.disk.image import BLOCK, Qcow2, Raw
from simulator.disk.snapshots import Entry
from simulator.world import World, life
from simulator.xen.incarnations import Shutdown
from xensnap.model import DomainUuid, Layer

replace = msgspec.structs.replace


class Vanish(msgspec.Struct, frozen=True, tag=True):
    """A file is gone: `rm`."""

    path: str


class Garble(msgspec.Struct, frozen=True, tag=True):
    """A file holds something else, of the same length at least: a failing disk, or the wrong `dd`."""

    path: str
    filling: bytes = b"\xde"


class Cut(msgspec.Struct, frozen=True, tag=True):
    """A file of ours ends early."""

    path: str
    length_bytes: int = 10


class Grow(msgspec.Struct, frozen=True, tag=True):
    """Something stands at the end of a file that was not there."""

    path: str
    tail: bytes = b"}\n"


class Move(msgspec.Struct, frozen=True, tag=True):
    """`mv`."""

    path: str
    to: str


class Copy(msgspec.Struct, frozen=True, tag=True):
    """`cp`: another file with the same content; onto its own name it is what a restore from a backup does."""

    path: str
    to: str


class Remake(msgspec.Struct, frozen=True, tag=True):
    """`rm` and a new file under the name, to which ext4 gives the number of the old inode at once.

    Without `content` it is a copy of the old one.
    """

    path: str
    content: bytes | None = None


class Edit(msgspec.Struct, frozen=True, tag=True):
    """A value in a JSON text is another one. `keys` lead to it; an integer is an index."""

    path: str
    keys: tuple[str | int, ...]
    value: Any


class Plant(msgspec.Struct, frozen=True, tag=True):
    """A new file, or with a target a symbolic link."""

    path: str
    content: bytes = b""
    target: str = ""


class Link(msgspec.Struct, frozen=True, tag=True):
    """`ln`: the file has a second name."""

    path: str
    to: str


class Chmod(msgspec.Struct, frozen=True, tag=True):
    """Another mode, of a file or of a directory."""

    path: str
    mode: int


class Chown(msgspec.Struct, frozen=True, tag=True):
    """Another owner, of a file, a link or a directory."""

    path: str
    uid: int = 1000


class DropTag(msgspec.Struct, frozen=True, tag=True):
    """`qemu-img snapshot -d` of the first that has this tag."""

    path: str
    tag: str


class AddTag(msgspec.Struct, frozen=True, tag=True):
    """`qemu-img snapshot -c`, also of a tag that is there already, as QEMU 7.2 allows."""

    path: str
    tag: str


class Back(msgspec.Struct, frozen=True, tag=True):
    """`qemu-img rebase -u`: another name and format in the header."""

    path: str
    backing_name: str
    backing_format: str = "qcow2"


class Leak(msgspec.Struct, frozen=True, tag=True):
    """Clusters of an image are counted that nothing refers to, its tables have errors, or flags are stale."""

    path: str
    clusters: int = 3
    errors: int = 0
    stale: int = 0


class StartFrom(msgspec.Struct, frozen=True, tag=True):
    """The stored configuration of a domain names another image for a disk; what runs does not change."""

    uuid: str
    vdev: str
    layer: Layer


class Suspend(msgspec.Struct, frozen=True, tag=True):
    """A save that died has left the guest suspended."""

    uuid: str


class LoseQemu(msgspec.Struct, frozen=True, tag=True):
    """The QEMU of a running domain dies; xl does not notice."""

    uuid: str


class LoseWatcher(msgspec.Struct, frozen=True, tag=True):
    """The daemon of xl that watches a running domain is gone, as after every plain `xl save -c`."""

    uuid: str


class Unflag(msgspec.Struct, frozen=True, tag=True):
    """`chattr -i`."""

    path: str


class NewUuid(msgspec.Struct, frozen=True, tag=True):
    """A domain that is off is started from a file without `uuid=` and shut down again: it has another UUID now."""

    uuid: str
    to: str


Damage = (
    Vanish
    | Garble
    | Cut
    | Grow
    | Move
    | Copy
    | Remake
    | Edit
    | Plant
    | Link
    | Chmod
    | Chown
    | DropTag
    | AddTag
    | Back
    | Leak
    | StartFrom
    | Suspend
    | LoseQemu
    | LoseWatcher
    | Unflag
    | NewUuid
)


def damaged(world: World, damage: Damage) -> World:
    """The world after this. What cannot be done to it, because the file is not there, raises OSError."""
    match damage:
        case StartFrom():
            domain = world.domains[damage.uuid]
            disks = tuple(
                replace(disk, path=damage.layer.path, format=damage.layer.format) if disk.vdev == damage.vdev else disk
                for disk in domain.disks
            )
            return replace(world, domains=world.domains.set(damage.uuid, replace(domain, disks=disks)))
        case Suspend():
            one = world.xen.of(damage.uuid)[0]
            return replace(world, xen=world.xen.putting(replace(one, shutdown=Shutdown.SUSPEND)))
        case LoseQemu():
            return life.without_qemu(world, world.xen.of(damage.uuid)[0])
        case LoseWatcher():
            return life.without_watcher(world, world.xen.of(damage.uuid)[0])
        case NewUuid():
            domain = replace(world.domains[damage.uuid], uuid=DomainUuid(damage.to))
            return replace(world, domains=world.domains.delete(damage.uuid).set(damage.to, domain))
        case Unflag():
            return world.with_fs(world.fs.flag(damage.path, immutable=False))
        case Plant():
            fs = world.fs.symlink(damage.path, damage.target) if damage.target else _made(world, damage)
            return world.with_fs(fs)
        case Vanish():
            return world.with_fs(_durable(_unflagged(world.fs, damage.path).link_away(damage.path), damage.path))
        case Move():
            fs = _unflagged(world.fs, damage.path).rename(damage.path, damage.to)
            return world.with_fs(_durable(fs, damage.path, damage.to))
        case Copy():
            stored = world.fs.inode(damage.path).stored
            fs = world.fs if world.fs.find(damage.to) is None else _unflagged(world.fs, damage.to).link_away(damage.to)
            return world.with_fs(_durable(fs.create(damage.to, stored).sync(damage.to), damage.to))
        case Remake():
            number, inode = world.fs.number(damage.path), world.fs.inode(damage.path)
            stored = inode.stored if damage.content is None else damage.content
            anew = Inode(stored, generation=inode.generation + 1)
            return world.with_fs(replace(world.fs, inodes=world.fs.inodes.set(number, anew)))
        case Link():
            return world.with_fs(world.fs.link(damage.path, damage.to))
        case Chmod():
            return world.with_fs(_with(world.fs, damage.path, mode=damage.mode))
        case Chown():
            return world.with_fs(_with(world.fs, damage.path, uid=damage.uid))
        case _:
            return _rewritten(world, damage)


def _made(world: World, damage: Plant) -> FileSystem:
    return _durable(world.fs.create(damage.path, damage.content).sync(damage.path), damage.path)


def _with(fs: FileSystem, path: str, **attributes: int) -> FileSystem:
    """What is under a name with another mode or owner."""
    place = fs.dirs.get(path)
    if place is not None:
        return replace(fs, dirs=fs.dirs.set(path, replace(place, **attributes)))
    number = fs.find(path)
    if number is None:
        raise failed(ENOENT, path)
    return replace(fs, inodes=fs.inodes.set(number, replace(fs.inodes[number], **attributes)))


def _unflagged(fs: FileSystem, path: str) -> FileSystem:
    """Whoever did it was root, and knew `chattr -i`."""
    return fs.flag(path, immutable=False) if fs.has_flags and fs.inode(path).immutable else fs


def _durable(fs: FileSystem, *paths: str) -> FileSystem:
    """Damage was done long before we look."""
    for path in paths:
        fs = fs.sync_dir(path.rpartition("/")[0] or "/")
    return fs


def _rewritten(world: World, damage: Garble | Cut | Grow | Edit | DropTag | AddTag | Back | Leak) -> World:
    """Damage to what stands in one file; no flag keeps a failing disk from it."""
    number, inode = world.fs.number(damage.path), world.fs.inode(damage.path)
    fs = replace(world.fs, inodes=world.fs.inodes.set(number, replace(inode, immutable=False)))
    fs = fs.store(number, _content(world, inode, damage), damage.path).sync(damage.path)
    return world.with_fs(fs)


def _content(world: World, inode: Inode, damage: Garble | Cut | Grow | Edit | DropTag | AddTag | Back | Leak) -> Stored:
    stored = inode.stored
    if isinstance(stored, Raw):
        return _raw(world, stored, damage)
    match damage:
        case Garble():
            return damage.filling * max(16, length(stored) // len(damage.filling))
        case Cut():
            return _bytes(stored)[: damage.length_bytes]
        case Grow():
            return _bytes(stored) + damage.tail
        case Edit():
            document = json.loads(_bytes(stored))
            at = document
            for key in damage.keys[:-1]:
                at = at[key]
            at[damage.keys[-1]] = damage.value
            return json.dumps(document, indent=4).encode() + b"\n"
    assert isinstance(stored, Qcow2), f"{damage} is for qcow2 images"
    match damage:
        case DropTag():
            entry = stored.table.by_tag(damage.tag)
            assert entry is not None, f"no {damage.tag!r} in {damage.path}"
            return replace(stored, table=stored.table.removed(entry))
        case AddTag():
            tag = damage.tag.encode()
            entry = Entry(stored.table.highest + 1, tag, world.clock.now_ns, stored.size_bytes, stored.content)
            return replace(stored, table=stored.table.added(entry), own=EMPTY)
        case Back():
            return replace(stored, backing_name=damage.backing_name, backing_format=damage.backing_format)
        case Leak():
            leaked, errors = stored.leaked + damage.clusters, stored.corrupted + damage.errors
            return replace(stored, leaked=leaked, corrupted=errors, stale=stored.stale + damage.stale)


def _raw(world: World, stored: Raw, damage: Damage) -> Raw:
    """A raw image is any bytes at all: only its length tells, or what a guest finds in it."""
    match damage:
        case Garble():
            clusters = -(-stored.size_bytes // BLOCK)
            return stored.written({index: world.writes + 1 + index for index in range(clusters)})
        case Cut():
            return replace(stored, size_bytes=damage.length_bytes // SECTOR * SECTOR)
        case Grow():
            return replace(stored, size_bytes=stored.size_bytes + SECTOR)
    raise AssertionError(f"{damage} is not for raw images")


def _bytes(stored: Stored) -> bytes:
    """Text as it is. Of an image no bytes are simulated: what is cut off one, or added, leaves no image."""
    return stored if isinstance(stored, bytes) else b"QFI\xfb" + bytes(60)
