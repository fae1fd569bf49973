"""Image files as frozen values: raw and qcow2. What they know of their own space stands in `refcounts`."""

from collections.abc import Hashable, Mapping

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.bitmaps import Bitmaps
from simulator.disk.content import EMPTY, SECTOR, Content, Value
from simulator.disk.snapshots import Table

COMPAT = {"0.10": 2, "1.1": 3}
COMPRESSED = "an image whose file had compressed clusters: which they are is not kept"
BLOCK = 4096
"""Raw files and the host's own files are counted in blocks of this size."""
PARTS = 32
"""How many parts of a cluster extended L2 entries tell of, each of which is allocated alone."""
EXTENDED_LEAST = 16384
"""How large clusters have to be for that, in bytes."""


class Raw(msgspec.Struct, frozen=True, tag="raw"):
    """A raw image: its size is its length, and a hole is the same as zeros."""

    size_bytes: int
    content: Content = EMPTY

    @property
    def sectors(self) -> int:
        """Sectors in one cluster of its content."""
        return BLOCK // SECTOR

    @property
    def version(self) -> int:
        """Raw images have no version; resizing asks for it."""
        return 0

    @property
    def length_bytes(self) -> int:
        """Length of the file."""
        return self.size_bytes

    @property
    def allocated_bytes(self) -> int:
        """Space that the file takes."""
        return len(self.content) * BLOCK

    def written(self, clusters: Mapping[int, Value | None]) -> "Raw":
        """The image after these clusters were filled, or emptied where None."""
        changing = self.content.mutate()
        for index, value in clusters.items():
            if value:
                changing[index] = value
            else:
                changing.pop(index, None)
        return Raw(self.size_bytes, changing.finish())


class Qcow2(msgspec.Struct, frozen=True, tag="qcow2"):
    """A qcow2 image. `content` is the active layer; `used` and `end` count host clusters.

    `leaked` clusters are lost until a repair; `pending` ones are lost only if the operation under way dies. `stale` is
    how many entries say of a cluster that it is shared, or is not, against its count: only while clusters are pending.

    `own` marks the clusters written since the last change of the snapshot table: those are surely not shared, so they
    are overwritten in place, as the COPIED flag makes QEMU do.

    `lazy` says that counts may be written late. What a death leaves of such an image is not modelled. `compression` is
    that of compressed clusters. `compressed` has what was written so; a cluster that holds something else by now is not
    compressed any more, in the active layer as in a snapshot. The space that is saved so is not modelled. `inflated`
    says that the file that the image was read from had such clusters: what tells of them is not modelled.

    With `extended_l2` the index of `content` and `own` is that of a part of a cluster, of which there are `PARTS`.
    """

    size_bytes: int
    cluster_bytes: int = 65536
    version: int = 3
    refcount_bits: int = 16
    content: Content = EMPTY
    table: Table = Table()
    backing_name: str = ""
    backing_format: str = ""
    used: int = 0
    end: int = 0
    leaked: int = 0
    pending: int = 0
    corrupted: int = 0
    own: Content = EMPTY
    bitmaps: Bitmaps = ()
    lazy: bool = False
    stale: int = 0
    compression: str = "zlib"
    inflated: bool = False
    compressed: Content = EMPTY
    extended_l2: bool = False

    def clusters(self, content: Content) -> Mapping[int, Hashable]:
        """What the clusters of the file hold of a layer, by index; 0 for zeros that are only marked.

        Layers in which it is equal share the cluster. Of extended L2 entries that is neglected where parts of a shared
        cluster were marked as zeros since. Costs the parts that are allocated.
        """
        if not self.extended_l2:
            return content
        parts: dict[int, list[tuple[int, Value]]] = {}
        for index in sorted(content):
            held = parts.setdefault(index // PARTS, [])
            if value := content[index]:
                held.append((index, value))
        return {index: tuple(held) or 0 for index, held in parts.items()}

    @property
    def compressed_count(self) -> int:
        """How many clusters of the active layer are compressed."""
        return sum(self.content.get(index) == value for index, value in self.compressed.items())

    @property
    def sectors(self) -> int:
        """Sectors in what is allocated alone: one cluster, or one part of it."""
        return self.cluster_bytes // (SECTOR * PARTS if self.extended_l2 else SECTOR)

    @property
    def compat(self) -> str:
        """The version as qemu-img names it."""
        return "0.10" if self.version == 2 else "1.1"

    @property
    def length_bytes(self) -> int:
        """Length of the file; it never shrinks but by a resize."""
        return self.end * self.cluster_bytes

    @property
    def allocated_bytes(self) -> int:
        """Space that the file takes."""
        return (self.used + self.leaked) * self.cluster_bytes

    def written(self, clusters: Mapping[int, Value | None]) -> "Qcow2":
        """The image after these clusters of the active layer were filled, in place or by copy on write.

        Those with None are not allocated any more.
        """
        # That an L2 table may be added, and that a zero of version 3 needs no data cluster, is neglected. Where a part
        # of a cluster is marked as zeros, the cluster stays with those who share it (trace img-extended-l2).
        changing, owning = self.content.mutate(), self.own.mutate()
        for index, value in clusters.items():
            if value is None:
                owning.pop(index, None)
                changing.pop(index, None)
                continue
            if value or not self.extended_l2:
                owning[index] = 0
            changing[index] = value
        content, own = changing.finish(), owning.finish()
        used = self.used + len(self.clusters(own)) - len(self.clusters(self.own))
        end = max(self.end, used + self.leaked)
        return msgspec.structs.replace(self, content=content, own=own, used=used, end=end)


Image = Raw | Qcow2


def fresh_qcow2(
    size_bytes: int,
    *,
    cluster_bytes: int = 65536,
    compat: str = "1.1",
    refcount_bits: int = 16,
    backing_name: str = "",
    backing_format: str = "",
    lazy: bool = False,
    compression: str = "zlib",
    extended_l2: bool = False,
) -> Qcow2:
    """An empty qcow2 image as `qemu-img create` makes it: header, refcount table and block, and the L1 table."""
    if compat not in COMPAT:
        raise NotModelled(f"qcow2 compat {compat}")
    if not 512 <= cluster_bytes <= 2 << 20 or cluster_bytes & (cluster_bytes - 1):
        raise ValueError("Cluster size must be a power of two between 512 and 2048k")
    if refcount_bits not in {1, 2, 4, 8, 16, 32, 64}:
        raise ValueError("Refcount width must be a power of two and may not exceed 64 bits")
    if compat == "0.10" and refcount_bits != 16:
        raise ValueError("Different refcount widths than 16 bits require compatibility level 1.1 or above")
    if compat == "0.10" and lazy:
        words = "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)"
        raise ValueError(words)
    if extended_l2 and (compat == "0.10" or cluster_bytes < EXTENDED_LEAST):
        raise ValueError(f"Extended L2 entries need compatibility level 1.1 and clusters of {EXTENDED_LEAST} bytes")
    # QEMU 7.2.22 rounds a size up to whole sectors.
    size_bytes = -(-size_bytes // SECTOR) * SECTOR
    tables = _tables_clusters(size_bytes, cluster_bytes, extended_l2=extended_l2)
    return Qcow2(
        size_bytes,
        cluster_bytes,
        COMPAT[compat],
        refcount_bits,
        backing_name=backing_name,
        backing_format=backing_format,
        used=tables,
        end=tables,
        lazy=lazy,
        compression=compression,
        extended_l2=extended_l2,
    )


_L1_ENTRIES_MAX = (32 << 20) // 8


def l2_entry_bytes(*, extended_l2: bool) -> int:
    """How much an L2 table has for one cluster."""
    return 16 if extended_l2 else 8


def _l1_entries(size_bytes: int, cluster_bytes: int, *, extended_l2: bool) -> int:
    return -(-size_bytes // (cluster_bytes * (cluster_bytes // l2_entry_bytes(extended_l2=extended_l2))))


def too_large(size_bytes: int, cluster_bytes: int, *, extended_l2: bool) -> bool:
    """Whether the first table of a qcow2 image would be longer than QEMU allows."""
    return _l1_entries(size_bytes, cluster_bytes, extended_l2=extended_l2) > _L1_ENTRIES_MAX


def metadata(image: Qcow2) -> int:
    """Clusters for the header, the refcounts and the L1 table of the active layer."""
    return _tables_clusters(image.size_bytes, image.cluster_bytes, extended_l2=image.extended_l2)


def _tables_clusters(size_bytes: int, cluster_bytes: int, *, extended_l2: bool) -> int:
    l1_entries = _l1_entries(size_bytes, cluster_bytes, extended_l2=extended_l2)
    return 3 + max(1, -(-l1_entries * 8 // cluster_bytes))
