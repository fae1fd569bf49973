"""The human monitor over QMP: its looks at the images, and what it shares with QMP. Its errors are replies, too."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import text
from simulator.disk.image import Qcow2
from simulator.disk.told import Told
from simulator.qemu import board as boards
from simulator.qemu import graph, jobs, lines
from simulator.qemu.board import Board, Left
from simulator.qemu.commands import ask, life, machine, nodes, snapshots, work
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import drained
from simulator.qemu.commands.machine import Failed
from simulator.qemu.graph import Drive
from simulator.qemu.jobs import KINDS
from simulator.qemu.lines import Given
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, whole
from simulator.qemu.schema import text as text_kind

_NAMES_TOLD = """
announce_self balloon block_job_cancel block_job_complete block_job_pause block_job_resume block_job_set_speed
block_resize block_set_io_throttle block_stream boot_set c calc_dirty_rate cancel_vcpu_dirty_limit change chardev-add
chardev-change chardev-remove chardev-send-break client_migrate_info closefd commit cont cpu delvm device_add
device_del drive_add drive_backup drive_del drive_mirror dump-guest-memory dumpdtb eject exit_preconfig
expire_password gdbserver getfd gpa2hpa gpa2hva gva2gpa help hostfwd_add hostfwd_remove i info loadvm log logfile mce
memsave migrate migrate_cancel migrate_continue migrate_incoming migrate_pause migrate_recover migrate_set_capability
migrate_set_parameter migrate_start_postcopy mouse_button mouse_move mouse_set nbd_server_add nbd_server_remove
nbd_server_start nbd_server_stop netdev_add netdev_del nmi o object_add object_del p pcie_aer_inject_error pmemsave
print q qemu-io qom-get qom-list qom-set quit replay_break replay_delete_break replay_seek ringbuf_read ringbuf_write
savevm screendump sendkey set_link set_password set_vcpu_dirty_limit singlestep snapshot_blkdev
snapshot_blkdev_internal snapshot_delete_blkdev_internal stop stopcapture sum sync-profile system_powerdown
system_reset system_wakeup trace-event watchdog_action wavcapture x x_colo_lost_heartbeat xp ?
"""
_NAMES = frozenset(_NAMES_TOLD.split())
_LOOKS_TOLD = """
balloon block block-jobs blockstats capture chardev cpus dirty_rate dump history hotpluggable-cpus iothreads irq jit
kvm lapic mem memdev memory-devices memory_size_summary mice migrate migrate_capabilities migrate_parameters mtree
name network numa opcount pci pic profile qdm qom-tree qtree ramblock rdma registers replay rocker rocker-of-dpa-flows
rocker-of-dpa-groups rocker-ports roms sev sgx snapshots spice stats status sync-profile tlb tpm trace-events usb
usbhost usernet uuid vcpu_dirty_limit version virtio virtio-queue-element virtio-queue-status virtio-status virtio-
vhost-queue-status vm-generation-id vnc
"""
_LOOKS = frozenset(_LOOKS_TOLD.split())
"""What it knows, as its own help has it (QEMU 7.2.22)."""


class Line(NamedTuple):
    """One command of the human monitor.

    Attributes:
        kinds: its arguments, as `lines` reads them.
        do: `(board, arguments) -> (board, text)`; a `QmpError` or `Failed` is told as an error.
        name: what messages call it, where it has other names.
    """

    kinds: str
    do: Callable[[Board, Given], tuple[Board, str]]
    name: str = ""


def said(board: Board, line: str) -> tuple[Board, str]:
    """What it does and says to a line. `NotModelled` for what is not modelled."""
    word, rest = lines.split(line)
    if not word:
        return board, ""
    looks = word in {"info", "i"}
    if looks:
        word, rest = lines.split(rest)
    known, all_known = (_LOOKING, _LOOKS) if looks else (_DOING, _NAMES)
    typed = f"info {word}" if looks else word
    if word not in known:
        if word and word not in all_known:
            return board, f"unknown command: '{typed}'\r\n"
        raise NotModelled(f"QMP: human-monitor-command {line!r}")
    command = known[word]
    try:
        board, text = command.do(board, lines.read(rest, command.kinds, name=command.name or word))
    except lines.Unread as error:
        return board, f'{error}\r\nTry "help {typed}" for more information\r\n'
    except Failed as error:
        return error.board, (f"{error.reported}\r\n" if error.reported else "") + _error(error)
    except Left as error:
        return error.board, _error(error)
    except QmpError as error:
        return board, _error(error)
    return board, text.replace("\n", "\r\n")


def _error(error: Exception) -> str:
    if str(error).startswith("Failed to get"):
        raise NotModelled(f"QMP: what the human monitor adds to {str(error)!r}")
    return f"Error: {error}\r\n"


# --- what it does ----------------------------------------------------------------------------------------------------


def _as_qmp(command: Command, *, drains: bool = False, **more: Any) -> Callable[[Board, Given], tuple[Board, str]]:
    """What a command of QMP does, whose arguments are called alike."""

    def do(board: Board, given: Given) -> tuple[Board, str]:
        board = drained(board) if drains else board
        try:
            return command.do(board, given | more)[0], ""
        except QmpError as error:
            raise error if isinstance(error, Left) else Left(str(error), board) from None

    return do


def _overlaid(board: Board, given: Given) -> tuple[Board, str]:
    if "snapshot-file" not in given:
        raise QmpError("Parameter 'snapshot-file' is missing")
    mode = "existing" if given.pop("reuse", False) else "absolute-paths"
    return _as_qmp(snapshots.COMMANDS["blockdev-snapshot-sync"], drains=True, mode=mode)(board, given)


def _streamed(board: Board, given: Given) -> tuple[Board, str]:
    return _as_qmp(work.COMMANDS["block-stream"])(board, given | {"job-id": given["device"]})


def _committed(board: Board, given: Given) -> tuple[Board, str]:
    """Into the next image, at once; of all devices those that have one."""
    device = str(given["device"])
    if any(job.kind in KINDS for job in board.qemu.jobs):
        raise NotModelled("QMP: human-monitor-command 'commit' while there is a block job")
    drives = [drive for drive in board.qemu.drives if drive.attached and len(drive.chain) > 1]
    if device != "all":
        named = boards.by_device(board.qemu, device)
        if named is None:
            return board, f"Device '{device}' not found\n"
        if named not in drives:
            return board, f"'commit' error for '{device}': Operation not supported\n"
        drives = [named]
    try:
        for drive in drives:
            board = _emptied(board, drive)
    except QmpError:
        return board, f"'commit' error for '{device}': Permission denied\n"
    return board, ""


def _emptied(board: Board, drive: Drive) -> Board:
    if not drive.root.writes or drive.root.bitmaps:
        raise NotModelled("QMP: human-monitor-command 'commit' of such an image")
    return board.having(*jobs.emptied(board.fs, board.qemu, drive))


def _io(board: Board, given: Given) -> tuple[Board, str]:
    """Tables that QEMU has in its memory reach the file, and the file the disk."""
    if given["command"] != "flush":
        raise NotModelled(f"QMP: human-monitor-command qemu-io {given['command']!r}")
    device = str(given["device"])
    drive = boards.by_device(board.qemu, device)
    node = drive.root if drive else boards.found(board.qemu, None, device).node
    return msgspec.structs.replace(board, fs=board.fs.synced(node.number)), ""


def _saved(board: Board, given: Given) -> tuple[Board, str]:
    tag = given.get("name")
    return machine.savevm(board, None if tag is None else str(tag)), ""


# --- what it looks at ------------------------------------------------------------------------------------------------


def _version(board: Board, _given: Given) -> tuple[Board, str]:
    return board, f"7.2.22{ask.VERSION['package']}\n"


def _name(board: Board, _given: Given) -> tuple[Board, str]:
    return board, f"{board.qemu.name}\n" if board.qemu.name else ""


def _jobs(board: Board, _given: Given) -> tuple[Board, str]:
    return board, "".join(map(_job, ask.COMMANDS["query-block-jobs"].do(board, {})[1])) or "No active jobs\n"


def _job(told: Told) -> str:
    name = (
        f"Streaming device {told['device']}"
        if told["type"] == "stream"
        else f"Type {told['type']}, device {told['device']}"
    )
    return f"{name}: Completed {told['offset']} of {told['len']} bytes, speed limit {told['speed']} bytes/s\n"


def _snapshots(board: Board, _given: Given) -> tuple[Board, str]:
    """Those that every image has, told as the first has them, and for each image what only some have."""
    names = machine.every(board)
    drives = {name: boards.found(board.qemu, None, name).drive for name in names}
    images = {name: graph.current(board.fs, drive.root) for name, drive in drives.items()}
    tables = {name: image.table for name, image in images.items() if isinstance(image, Qcow2)}
    if not tables:
        return board, "no block device can store vmstate for snapshot\n"
    if not any(map(len, tables.values())):
        return board, "There is no snapshot available.\n"
    first = next(iter(tables.values()))
    whole = [entry for entry in first if all(name in tables and tables[name].by_tag(entry.told.tag) for name in names)]
    told = "List of snapshots present on all disks:\n"
    told += text.entries(whole, number="--") if whole else "None\n"
    tags = {entry.tag for entry in whole}
    for name, table in tables.items():
        if partial := [entry for entry in table if entry.tag not in tags]:
            told += f"\nList of partial (non-loadable) snapshots on '{_device(drives[name])}':\n{text.entries(partial)}"
    return board, told


def _device(drive: Drive) -> str:
    return drive.device if drive.attached else ""


def _status(board: Board, _given: Given) -> tuple[Board, str]:
    status = board.qemu.status
    more = "" if status in {"running", "paused"} else f" ({status})"
    return board, f"VM status: {'running' if status == 'running' else 'paused'}{more}\n"


def _blocks(board: Board, given: Given) -> tuple[Board, str]:
    """The images of all devices, or of one device or node; with `-n` only nodes are looked at."""
    name, told = given.get("device"), list[tuple[int, str]]()
    show = partial(_block, verbose="verbose" in given)
    if "nodes" not in given:
        boards.require_media(board.qemu)
        devices = [drive for drive in board.qemu.drives if drive.attached]
        told += [
            (at, show(ask.backend(board, drive))) for at, drive in enumerate(devices) if name in {None, drive.device}
        ]
    if "nodes" in given or (name and not told):
        board, found = ask.COMMANDS["query-named-block-nodes"].do(board, {})
        told += [
            (at, show({"device": "", "inserted": node}))
            for at, node in enumerate(found)
            if name in {None, node["node-name"]}
        ]
    return board, "".join("\n" * bool(at) + each for at, each in told)


def _block(told: Told, *, verbose: bool) -> str:
    image = told["inserted"]
    node = image["node-name"]
    title = f"{told['device']} ({node})" if told["device"] else node
    lines = [f"{title}: {image['file']} ({image['drv']}{', read-only' if image['ro'] else ''})"]
    if "qdev" in told:
        lines.append(f"    Attached to:      {told['qdev']}")
    if told.get("removable"):
        lines.append("    Removable device: not locked, tray closed")
    lines.append("    Cache mode:       writeback")
    if "backing_file" in image:
        lines.append(f"    Backing file:     {image['backing_file']} (chain depth: {image['backing_file_depth']})")
    return "".join(f"{line}\n" for line in lines) + (_images(image["image"]) if verbose else "")


def _images(told: Told) -> str:
    lines = ["\nImages:\n"]
    while told:
        if "snapshots" in told:
            raise NotModelled("QMP: human-monitor-command 'info block -v' of an image with snapshots")
        lines.append(text.image(told) + text.specific(told))
        told = told.get("backing-image", {})
    return "".join(lines)


_SNAPSHOT = "device:B,name:s"

_DOING = {
    "stop": Line("", _as_qmp(life.COMMANDS["stop"]), "stop|s"),
    "s": Line("", _as_qmp(life.COMMANDS["stop"]), "stop|s"),
    "cont": Line("", _as_qmp(life.COMMANDS["cont"]), "cont|c"),
    "c": Line("", _as_qmp(life.COMMANDS["cont"]), "cont|c"),
    "quit": Line("", _as_qmp(life.COMMANDS["quit"]), "quit|q"),
    "q": Line("", _as_qmp(life.COMMANDS["quit"]), "quit|q"),
    "system_powerdown": Line("", _as_qmp(life.COMMANDS["system_powerdown"])),
    "savevm": Line("name:s?", _saved),
    "loadvm": Line("name:s", lambda board, given: (machine.loadvm(board, str(given["name"])), "")),
    "delvm": Line("name:s", lambda board, given: (machine.delvm(board, str(given["name"])), "")),
    "snapshot_blkdev": Line("reuse:-n,device:B,snapshot-file:s?,format:s?", _overlaid),
    "snapshot_blkdev_internal": Line(
        _SNAPSHOT, _as_qmp(snapshots.COMMANDS["blockdev-snapshot-internal-sync"], drains=True)
    ),
    "snapshot_delete_blkdev_internal": Line(
        f"{_SNAPSHOT},id:s?", _as_qmp(snapshots.COMMANDS["blockdev-snapshot-delete-internal-sync"])
    ),
    "block_resize": Line("device:B,size:o", _as_qmp(nodes.COMMANDS["block_resize"])),
    "block_stream": Line("device:B,speed:o?,base:s?", _streamed),
    "block_job_set_speed": Line("device:B,speed:o", _as_qmp(work.COMMANDS["block-job-set-speed"])),
    "block_job_cancel": Line("force:-f,device:B", _as_qmp(work.COMMANDS["block-job-cancel"])),
    **{
        f"block_job_{verb}": Line("device:B", _as_qmp(work.COMMANDS[f"block-job-{verb}"]))
        for verb in ("complete", "pause", "resume")
    },
    "commit": Line("device:B", _committed),
    "qemu-io": Line("device:B,command:s", _io),
}
_LOOKING = {
    "block": Line("nodes:-n,verbose:-v,device:B?", _blocks),
    "status": Line("", _status),
    "version": Line("", _version),
    "name": Line("", _name),
    "block-jobs": Line("", _jobs),
    "snapshots": Line("", _snapshots),
}
"""What is modelled of them."""


def _said(board: Board, arguments: Arguments) -> Result:
    if "cpu-index" in arguments:
        raise NotModelled("QMP: human-monitor-command, cpu-index")
    return said(board, arguments["command-line"])


COMMANDS = {"human-monitor-command": Command({"command-line": text_kind, "cpu-index?": whole}, _said, daemon=False)}
