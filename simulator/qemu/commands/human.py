"""The human monitor over QMP: its looks at the images, and what it shares with QMP. Its errors are replies, too."""

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.told import Told
from simulator.qemu import board as boards
from simulator.qemu.board import Board, Place
from simulator.qemu.commands import ask, life, snapshots
from simulator.qemu.commands.command import Command, Result
from simulator.qemu.commands.draining import drained
from simulator.qemu.points import QmpError
from simulator.qemu.schema import Arguments, text, whole

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


def said(board: Board, line: str) -> tuple[Board, str]:
    """What it does and says to a line. `NotModelled` for what is not modelled."""
    words = line.split()
    try:
        match words:
            case []:
                return board, ""
            case ["info", "block", *named] if len(named) < 2 and not "".join(named).startswith("-"):
                return board, _blocks(board, *named)
            case ["info", "status"]:
                return board, _status(board)
            case ["info", "version"]:
                return board, "7.2.22" + str(ask.VERSION["package"]) + "\r\n"
            case ["info", "name"]:
                return board, f"{board.qemu.name}\r\n" if board.qemu.name else ""
            case ["info", "block-jobs"] if not board.qemu.jobs:
                return board, "No active jobs\r\n"
            case ["stop"]:
                return life.COMMANDS["stop"].do(board, {})[0], ""
            case ["cont" | "c"]:
                return life.COMMANDS["cont"].do(board, {})[0], ""
            case ["snapshot_blkdev_internal", device, name]:
                return _carried_out(board, "blockdev-snapshot-internal-sync", device, name), ""
            case ["snapshot_delete_blkdev_internal", device, name]:
                return _carried_out(board, "blockdev-snapshot-delete-internal-sync", device, name), ""
            case ["qemu-io", device, "flush"]:
                return _flushed(board, device), ""
            case ["info", word, *_] if word not in _LOOKS:
                return board, f"unknown command: 'info {word}'\r\n"
            case [word, *_] if word not in _NAMES:
                return board, f"unknown command: '{word}'\r\n"
    except QmpError as error:
        return board, f"Error: {error}\r\n"
    raise NotModelled(f"QMP: human-monitor-command {line!r}")


def _carried_out(board: Board, command: str, device: str, name: str) -> Board:
    return snapshots.COMMANDS[command].do(drained(board), {"device": device, "name": name})[0]


def _flushed(board: Board, device: str) -> Board:
    """Tables that QEMU has in its memory reach the file, and the file the disk."""
    drive = boards.by_device(board.qemu, device)
    node = drive.root if drive else boards.found(board.qemu, None, device).node
    return msgspec.structs.replace(board, fs=board.fs.synced(node.number))


def _status(board: Board) -> str:
    status = board.qemu.status
    more = "" if status in {"running", "paused"} else f" ({status})"
    return f"VM status: {'running' if status == 'running' else 'paused'}{more}\r\n"


def _blocks(board: Board, name: str = "") -> str:
    """The images of all devices, or of one device or node."""
    devices = [drive for drive in board.qemu.drives if drive.attached]
    told = [_block(ask.backend(board, drive)) for drive in devices]
    if not name:
        return "\r\n".join(told)
    for place, drive in enumerate(devices):
        if drive.device == name:
            return "\r\n" * bool(place) + told[place]
    place_ = boards.by_node(board.qemu, name)
    if place_ is None:
        return ""
    return "\r\n" + _block(
        {"device": "", "inserted": ask.device_info(board, Place(place_.drive, place_.at), flat=False)}
    )


def _block(told: Told) -> str:
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
    return "".join(f"{line}\r\n" for line in lines)


def _said(board: Board, arguments: Arguments) -> Result:
    return said(board, arguments["command-line"])


COMMANDS = {"human-monitor-command": Command({"command-line": text, "cpu-index?": whole}, _said, daemon=False)}
