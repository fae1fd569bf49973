"""Images as QEMU 7.2.22 tells them in JSON: what `qemu-img info` prints and what a monitor answers.

Members stand in the order of QEMU's own declarations, on which the order in its output depends (`qjson`). What is not
there is absent, never empty or null.
"""

from typing import Any

from simulator.disk.bitmaps import StoredBitmap
from simulator.disk.chain import Link, backing_path, has_protocol
from simulator.disk.content import SECTOR
from simulator.disk.image import Image, Qcow2
from simulator.disk.snapshots import Entry

Told = dict[str, Any]


def image_info(link: Link, *, filename: str = "", snapshots: bool = True) -> Told:
    """`ImageInfo` of one image, without what stands below it.

    Args:
        filename: what it is called, where that is not its path.
        snapshots: whether the table is told, too; a filter above an image tells only that.
    """
    image = link.image
    told: Told = {
        "filename": filename or link.path,
        "format": link.format,
        "dirty-flag": False,
        "actual-size": image.allocated_bytes,
        "virtual-size": -(-image.size_bytes // SECTOR) * SECTOR,
    }
    if isinstance(image, Qcow2):
        told["cluster-size"] = image.cluster_bytes
        if image.backing_name:
            told["backing-filename"] = image.backing_name
            told["full-backing-filename"] = full_backing_name(link.path, image.backing_name)
            if image.backing_format:
                told["backing-filename-format"] = image.backing_format
        if snapshots and image.table.entries:
            told["snapshots"] = [snapshot_info(entry) for entry in image.table]
        told["format-specific"] = {"type": "qcow2", "data": _qcow2(image)}
    return told


def full_backing_name(path: str, name: str) -> str:
    """Where a backing name leads; names with a protocol in front are told as they are."""
    return name if has_protocol(name) else backing_path(path, name)


def protocol_info(path: str, image: Image) -> Told:
    """`ImageInfo` of the file below a format."""
    return {
        "filename": path,
        "format": "file",
        "dirty-flag": False,
        "actual-size": image.allocated_bytes,
        "virtual-size": image.length_bytes,
    }


def snapshot_info(entry: Entry) -> Told:
    """`SnapshotInfo`: an id is text, and `icount` is there only where qemu-img made the snapshot."""
    seconds, nanoseconds = divmod(entry.date_ns, 10**9)
    clock_s, clock_ns = divmod(entry.clock_ns, 10**9)
    told: Told = {
        "id": str(entry.number),
        "name": entry.told.tag,
        "vm-state-size": entry.state_bytes,
        "date-sec": seconds,
        "date-nsec": nanoseconds,
        "vm-clock-sec": clock_s,
        "vm-clock-nsec": clock_ns,
    }
    return told if entry.live else told | {"icount": 0}


def _qcow2(image: Qcow2) -> Told:
    told: Told = {"compat": image.compat}
    if image.version > 2:
        told |= {"extended-l2": image.extended_l2, "lazy-refcounts": image.lazy, "corrupt": False}
    told["refcount-bits"] = image.refcount_bits
    if image.bitmaps:
        told["bitmaps"] = [_bitmap(each) for each in image.bitmaps]
    return told | {"compression-type": image.compression}


def _bitmap(bitmap: StoredBitmap) -> Told:
    return {"name": bitmap.name, "granularity": bitmap.granularity_bytes, "flags": bitmap.flags}
