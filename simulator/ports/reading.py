"""What images say about themselves, and of what they stand on, as whoever reads their headers natively finds it."""

from simulator.disk.chain import Link, OpenError, backing_path, opened
from simulator.disk.content import SECTOR
from simulator.disk.extents import by_state
from simulator.disk.files import Inode, allocated, length
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from simulator.ports.files import failure
from xensnap.errors import Damaged, NotFound, Reason, Refused
from xensnap.model import Backing, Chain, Extent, FileId, Format, Image, Layer


def read_chain(fs: FileSystem, layer: Layer) -> Chain:
    """An image and everything below it, the active layer first.

    A backing file whose format the header does not say is refused.
    """
    images: list[Image] = []
    seen: set[int] = set()
    lower: Layer | None = layer
    while lower is not None:
        image = read_image(fs, lower)
        if image.file.inode in seen:
            raise Damaged(f"{lower.path}: the backing files form a loop", path=lower.path)
        seen.add(image.file.inode)
        images.append(image)
        lower = _below(image)
    return Chain(tuple(images))


def read_holds_data(fs: FileSystem, layer: Layer) -> bool:
    """Whether it has clusters of its own; a raw image has, unless it is empty."""
    require_present(fs, layer.path)
    stored = inode_of(fs, layer.path).stored
    if layer.format is Format.RAW or stored == b"":
        return bool(length(stored))
    return bool(opened_image(fs, layer).image.content)


def read_is_at(fs: FileSystem, layer: Layer, snapshot_id: str) -> bool:
    """Whether the active state has just the clusters of a snapshot."""
    image = opened_image(fs, layer).image
    entry = image.table.by_id(snapshot_id) if isinstance(image, Qcow2) else None
    if entry is None:
        raise NotFound(f"{layer.path} has no snapshot with the id {snapshot_id!r}", id="snapshot-not-in-image")
    return image.content == entry.content


def read_extents(fs: FileSystem, layer: Layer) -> dict[str, tuple[Extent, ...]]:
    """Which clusters each state of the image has, by the number of the write and the index."""
    require_present(fs, layer.path)
    if layer.format is Format.QCOW2 and inode_of(fs, layer.path).stored == b"":
        return {"": ()}
    return by_state(opened_image(fs, layer).image)


def require_present(fs: FileSystem, path: str) -> None:
    """`NotFound` where there is no such image."""
    if fs.find(path) is None:
        raise NotFound(f"{path}: no such image", id="image-not-found")


def inode_of(fs: FileSystem, path: str) -> Inode:
    """The file under this name."""
    try:
        return fs.inode(path)
    except OSError as error:
        raise failure(error, "read", path) from None


def opened_image(fs: FileSystem, layer: Layer) -> Link:
    """The image in this format; what it stands on is not looked at."""
    try:
        return opened(fs, layer)
    except OpenError as error:
        if error.missing:
            raise NotFound(f"{layer.path}: no such image", id="image-not-found") from None
        raise Damaged(f"{layer.path}: {error}", path=layer.path) from None


def read_image(fs: FileSystem, layer: Layer) -> Image:
    """An image's metadata as our own reader finds it: a raw image is any file at all."""
    if layer.format not in {Format.RAW, Format.QCOW2}:
        cause = f"{layer.path}: {layer.format} images are not supported"
        remedy = "Convert it with `qemu-img convert -O qcow2`."
        raise Refused([Reason("unsupported-format", cause, remedy)])
    if layer.format is Format.RAW:
        require_present(fs, layer.path)
        stored, number = inode_of(fs, layer.path).stored, fs.number(layer.path)
        size = -(-length(stored) // SECTOR) * SECTOR
        return Image(layer, FileId(fs.device, number), size, length(stored), allocated(stored))
    return told(fs, opened_image(fs, layer))


def _below(image: Image) -> Layer | None:
    backing = image.backing
    if backing is None:
        return None
    if backing.format is None:
        cause = f"{image.layer.path}: the header does not say in which format its backing file {backing.name!r} is"
        remedy = f"If you know it: qemu-img rebase -u -f qcow2 -F FORMAT -b {backing.name} {image.layer.path}"
        raise Refused([Reason("backing-format-missing", cause, remedy)])
    return Layer(backing.path, backing.format)


def told(fs: FileSystem, link: Link) -> Image:
    """An image as its header tells it."""
    image = link.image
    file = FileId(fs.device, link.number)
    layer = Layer(link.path, Format(link.format))
    assert isinstance(image, Qcow2)
    backing = None
    if image.backing_name:
        form = Format(image.backing_format) if image.backing_format else None
        backing = Backing(image.backing_name, backing_path(link.path, image.backing_name), form)
    return Image(
        layer,
        file,
        image.size_bytes,
        image.length_bytes,
        image.allocated_bytes,
        cluster_size_bytes=image.cluster_bytes,
        compat=image.compat,
        refcount_bits=image.refcount_bits,
        backing=backing,
        snapshots=image.table.told,
        bitmaps=len(image.bitmaps),
        corrupt=bool(image.corrupted),
        extended_l2=image.extended_l2,
    )
