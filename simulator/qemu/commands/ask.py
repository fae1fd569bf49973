"""Questions: what is open, how it stands, and what QEMU is."""

from typing import Any

import msgspec

from simulator.disk.chain import Link
from simulator.disk.content import SECTOR
from simulator.disk.told import Told, image_info, protocol_info
from simulator.qemu import graph
from simulator.qemu.bitmap import Bitmap
from simulator.qemu.board import Board, Place, filename, places, require_media
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.graph import BACKUP, BlockJob, Drive
from simulator.qemu.jobs import KINDS, STREAM
from simulator.qemu.schema import Arguments, truth

replace = msgspec.structs.replace

VERSION: Told = {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "Debian 1:7.2+dfsg-7+deb12u18+b3"}


def _version(board: Board, _arguments: Arguments) -> Result:
    return board, VERSION


def _name(board: Board, _arguments: Arguments) -> Result:
    return board, {"name": board.qemu.name} if board.qemu.name else {}


def _status(board: Board, _arguments: Arguments) -> Result:
    status = board.qemu.status
    return board, {"running": status == "running", "singlestep": False, "status": status}


def _block(board: Board, _arguments: Arguments) -> Result:
    require_media(board.qemu)
    return board, [backend(board, drive) for drive in board.qemu.drives if drive.attached]


def backend(board: Board, drive: Drive) -> Told:
    """`BlockInfo` of a device."""
    told: Told = {"device": drive.device}
    if drive.qdev:
        told["qdev"] = drive.qdev
        told |= {"io-status": "ok"} if drive.device else {}
        told |= {"tray_open": False} if drive.removable else {}
    told |= {"type": "unknown", "removable": drive.removable, "locked": False}
    # The filters of jobs are left out here, and only here; but those of backups are not.
    place, job = Place(drive, 0), board.qemu.filtering(drive.root.name)
    if job is not None and job.kind == BACKUP:
        return told | {"inserted": _filter_info(board, place, job, flat=False)}
    return told | {"inserted": device_info(board, place, flat=False)}


STREAM_KILLS = "Segmentation fault: query-named-block-nodes after a stream that is over and not dismissed"


def _nodes(board: Board, arguments: Arguments) -> Result:
    flat = bool(arguments.get("flat"))
    if any(job.kind == STREAM and job.over for job in board.qemu.jobs):
        # Measured: QEMU 7.2.22 dies of SIGSEGV, whatever image was streamed into, until the job is dismissed.
        return replace(board, crashed=STREAM_KILLS), []
    told: list[tuple[int, Told]] = []
    # Images that several stand on are told once.
    for place in {place.node.name: place for place in reversed(places(board.qemu))}.values():
        job = board.qemu.filtering(place.node.name)
        if job is not None:
            told.append((job.filter_serial, _filter_info(board, place, job, flat=flat)))
        told.append((place.node.serial, device_info(board, place, flat=flat)))
        if place.node.file_name:
            told.append((place.node.serial, _file_info(board, place)))
    return board, [each for _, each in sorted(told, key=lambda each: -each[0])]


def device_info(board: Board, place: Place, *, flat: bool) -> Told:
    """`BlockDeviceInfo` of a node."""
    drive, at = place.drive, place.at
    lower = drive.chain[at + 1 :]
    kind = place.node.layer.format if place.node.file_name else "file"
    told = _common(filename(drive, at), place.node.name, place.node.readonly, kind)
    if lower:
        told["backing_file"] = filename(drive, at + 1)
    told["backing_file_depth"] = 0 if flat else len(lower)
    told |= _limits(place.node.detect_zeroes) | {"image": _image(board, place, flat=flat), **_cache()}
    return told | ({"dirty-bitmaps": [_bitmap(each) for each in place.node.bitmaps]} if place.node.bitmaps else {})


def _bitmap(bitmap: Bitmap) -> Told:
    told: Told = {"name": bitmap.name} if bitmap.name else {}
    count = len(bitmap.dirty) * bitmap.granularity
    told |= {"count": count, "granularity": bitmap.granularity, "recording": bitmap.recording}
    return told | {"busy": False, "persistent": False}


def _image(board: Board, place: Place, *, flat: bool) -> Told:
    node = place.node
    image = graph.current(board.fs, node)
    if not node.file_name:
        return protocol_info(node.layer.path, image)
    link = Link(node.layer.path, node.layer.format, node.number, image)
    told = image_info(link, filename=filename(place.drive, place.at))
    if not flat and place.at + 1 < len(place.drive.chain):
        told["backing-image"] = _image(board, Place(place.drive, place.at + 1), flat=False)
    return told


def _file_info(board: Board, place: Place) -> Told:
    node = place.node
    told = _common(node.layer.path, node.file_name, not node.writes, "file")
    image = protocol_info(node.layer.path, graph.current(board.fs, node))
    return told | {"backing_file_depth": 0} | _limits() | {"image": image, **_cache()}


def _filter_info(board: Board, place: Place, job: BlockJob, *, flat: bool) -> Told:
    kind = _filter_kind(place, job)
    told = _common(filename(place.drive, place.at), job.filter_name, kind == "commit_top", kind)
    below = _image(board, place, flat=flat)
    passed_on = _OF_A_FILTER - ({"snapshots"} if job.kind == BACKUP else set())  # which has two children to ask
    image = {key: value for key, value in below.items() if key in passed_on} | {"format": kind}
    if not flat:
        image["backing-image"] = below
    depth = 0 if flat else len(place.drive.chain) - place.at
    told |= {"backing_file_depth": depth} | _limits() | {"image": image, **_cache()}
    if job.kind == BACKUP:
        # What the guest may not overwrite yet, and what has been copied (QEMU 7.2.22).
        bits = Bitmap("", job.granule_sectors * SECTOR, recording=False)
        told["dirty-bitmaps"] = [_bitmap(bits), _bitmap(bits)]
    return told


def _filter_kind(place: Place, job: BlockJob) -> str:
    if job.kind in {BACKUP, STREAM}:
        return "copy-before-write" if job.kind == BACKUP else "copy-on-read"
    return "mirror_top" if job.source == place.drive.root.name else "commit_top"


_OF_A_FILTER = {"filename", "format", "dirty-flag", "actual-size", "virtual-size", "cluster-size", "snapshots"}


def _common(file: str, name: str, readonly: bool, driver: str) -> Told:  # noqa: FBT001 -- as QEMU declares them
    return {"file": file, "node-name": name, "ro": readonly, "drv": str(driver)}


def _limits(detect_zeroes: str = "off") -> Told:
    names = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
    return {"encrypted": False, "detect_zeroes": detect_zeroes, **dict.fromkeys(names, 0)}


def _cache() -> Told:
    return {"cache": {"writeback": True, "direct": False, "no-flush": False}, "write_threshold": 0}


def _jobs(board: Board, _arguments: Arguments) -> Result:
    return board, [_job(job) for job in reversed(board.qemu.jobs)]


def _job(job: BlockJob) -> Told:
    done, total = progress(job)
    told: Told = {
        "id": job.id,
        "type": job.kind,
        "status": job.status,
        "current-progress": done,
        "total-progress": total,
    }
    return told | ({"error": job.error} if job.error else {})


def _block_jobs(board: Board, _arguments: Arguments) -> Result:
    return board, [_block_job(job) for job in reversed(board.qemu.jobs) if job.kind in KINDS]


def _block_job(job: BlockJob) -> Told:
    done, total = progress(job)
    told: Told = {
        "type": job.kind,
        "device": job.id,
        "len": total,
        "offset": done,
        "busy": False,
        "paused": job.paused or (job.status == "pending" and job.held == "ready"),
        "speed": job.speed,
        "io-status": "ok",
        "ready": job.status in {"ready", "standby"},
        "status": job.status,
        "auto-finalize": job.auto_finalize,
        "auto-dismiss": job.auto_dismiss,
    }
    return told | ({"error": job.error} if job.error else {})


def progress(job: BlockJob) -> tuple[int, int]:
    """How far of how much, in bytes, as QEMU counts."""
    done, total = job.done_sectors, job.done_sectors + job.left_sectors
    if job.total_bytes is None:
        return done * 512, total * 512
    if job.status in {"ready", "standby", "waiting", "pending"} or (job.over and not job.error) or not total:
        return job.total_bytes, job.total_bytes
    return job.total_bytes * done // total, job.total_bytes


def _empty(board: Board, _arguments: Arguments) -> Result:
    empty: list[Any] = []
    return board, empty


COMMANDS = {
    "query-version": Command({}, _version),
    "query-name": Command({}, _name, daemon=False),
    "query-status": Command({}, _status, daemon=False),
    "query-block": Command({}, _block),
    "query-named-block-nodes": Command({"flat?": truth}, _nodes),
    "query-jobs": Command({}, _jobs),
    "query-block-jobs": Command({}, _block_jobs),
    "query-block-exports": Command({}, _empty),
}
