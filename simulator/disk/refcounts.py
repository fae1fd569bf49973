"""How an image counts its clusters: what is shared, what leaks, what a narrow refcount forbids.

Counting is by number, not by place: a cluster is shared when the same write stands at the same index in two tables.
Write numbers are unique in a world, so equal means the same host cluster.
"""

import msgspec

from simulator.disk.image import Qcow2
from simulator.disk.snapshots import Entry

_EXACT_TABLES_MAX = 64
_EXACT_ENTRIES_MAX = 4096
"""Up to here a deletion is counted exactly. Above, the space of shared clusters returns with the last snapshot."""


def most(image: Qcow2) -> int:
    """The highest reference that any cluster of the active layer has now. Costs clusters times snapshots."""
    tables = [image.clusters(entry.content) for entry in image.table]
    held = image.clusters(image.content)
    return max((1 + sum(table.get(index) == value for table in tables) for index, value in held.items()), default=0)


def may_snapshot(image: Qcow2) -> bool:
    """Whether every refcount can be raised once more.

    QEMU 7.2.22: with n bits the highest is 2^n - 1; `snapshot -c` then fails with -22 and leaks one cluster. From 16
    bits on the limit of the snapshot table comes first.
    """
    return image.refcount_bits >= 16 or most(image) < (1 << image.refcount_bits) - 1


def may_apply(image: Qcow2, entry: Entry) -> bool:
    """Whether what a snapshot holds can be counted once more while it takes the place of the active layer.

    QEMU 7.2.22: where a cluster has all the references that n bits can count, `snapshot -a` fails with -22.
    """
    if image.refcount_bits >= 16:
        return True
    tables = [image.clusters(content) for content in (image.content, *(each.content for each in image.table))]
    most_allowed = (1 << image.refcount_bits) - 1
    return all(
        sum(table.get(index) == value for table in tables) < most_allowed
        for index, value in image.clusters(entry.content).items()
        if value != 0 or image.version == 2
    )


def raised(image: Qcow2, clusters: int, *, stale: int = 0) -> Qcow2:
    """That many references are counted without being there yet, or still: whoever dies now leaks them.

    QEMU 7.2.22 syncs between refcounts and table in all of `-c`, `-a` and `-d` (strace: fdatasync in between). Where it
    dies between counts and the flags that follow from them, `check` tells errors, too (killed by strace at each write);
    `check -r leaks` mends both.

    Not modelled: where the file ends before such a cluster, the real check overlooks it until the file has grown that
    far. Here each is written as soon as it is counted. (Our own repair makes the file longer first, so it is the same.)
    """
    return msgspec.structs.replace(image, leaked=image.leaked + image.pending, pending=clusters, stale=stale)


def flagged(image: Qcow2, *, stale: int = 0) -> Qcow2:
    """The flags of clusters follow their counts, or do not yet."""
    return msgspec.structs.replace(image, stale=stale)


def lowered(image: Qcow2, *, leaking: int = 0) -> Qcow2:
    """The operation under way has put the counts right, but for what it leaves leaking."""
    return msgspec.structs.replace(image, leaked=image.leaked + leaking, pending=0, stale=0)


def leaks(image: Qcow2) -> int:
    """What `qemu-img check` reports of an image that nobody works on."""
    return image.leaked + image.pending


def errors(image: Qcow2) -> int:
    """What `qemu-img check` reports as corruption: stale flags, too."""
    return image.corrupted + image.stale


def repaired(image: Qcow2) -> Qcow2:
    """The image with all leaked clusters given back."""
    return msgspec.structs.replace(image, leaked=0, pending=0, stale=0)


def recounted(image: Qcow2, metadata: int) -> Qcow2:
    """The image with its space counted anew, after a snapshot went away."""
    table = image.table
    if not table.entries:
        used = metadata + len(image.clusters(image.content))
        return msgspec.structs.replace(image, own=image.content, used=used)
    contents = [image.content, *(entry.content for entry in table)] if len(table) <= _EXACT_TABLES_MAX else []
    if not contents or sum(map(len, contents)) > _EXACT_ENTRIES_MAX:
        return msgspec.structs.replace(image, used=max(image.used - 1, metadata))
    clusters = {item for content in contents for item in image.clusters(content).items()}
    used = metadata + len(table) + len(clusters) + sum(state_clusters(image, entry) for entry in table)
    return msgspec.structs.replace(image, used=used)


def state_clusters(image: Qcow2, entry: Entry) -> int:
    """What a snapshot holds of a machine's state, which no other shares."""
    return -(-entry.state_bytes // image.cluster_bytes)
