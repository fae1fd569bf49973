"""The command line of a domain's QEMU, as a function of its description.

A memory image fits only the very machine that it was saved from, so nothing here may depend on the day or the host:
the machine type is pinned, every disk has its PCI slot by its place in the description, and nothing is a default.
"""

import json
from collections.abc import Mapping

import msgspec

from xensnap.backends.local.block_layer import driver, image_options
from xensnap.backends.qemu.supervise import MONITOR_FD
from xensnap.formats.domain_toml import DiskEntry, DomainEntry
from xensnap.model import Format, Layer

PROGRAM = "qemu-system-x86_64"
_MACHINE = "pc-i440fx-7.2"
_NODE_NAME_LENGTH_MAX = 31
# 0 to 3 belong to the chipset, on the machine type above.
_FIRST_SLOT = 4


class Boot(msgspec.Struct, frozen=True):
    """A boot medium: an absolute path, and whether it is a floppy or a raw disk."""

    path: str
    floppy: bool


def command_line(
    entry: DomainEntry,
    layers: Mapping[str, Layer],
    *,
    serial: str,
    boot: Boot | None = None,
    accelerator: str = "tcg",
    incoming: bool = False,
) -> list[str]:
    """QEMU's arguments, the program first; its vCPU stands still until it is told to go.

    Args:
        entry: the domain's description.
        layers: active layer of each of its disks (by vdev), absolute; an empty drive has none.
        serial: file that gets what the guest says on its first serial line.
        boot: what it boots from, if not its first disk.
        accelerator: `tcg` or `kvm`. A memory image is restored under the one that it was saved under.
        incoming: wait for a memory image instead of booting.
    """
    argv = [PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-msg", "timestamp=off"]
    argv += ["-name", f"guest={_escaped(entry.name)}", "-uuid", entry.uuid]
    argv += ["-machine", f"{_MACHINE},accel={accelerator}", "-cpu", "qemu64", "-m", f"{entry.memory_bytes >> 20}M"]
    argv += ["-chardev", f"socket,id=monitor,fd={MONITOR_FD},server=on,wait=off", "-mon", "chardev=monitor"]
    argv[-1] += ",mode=control"
    argv += ["-chardev", f"file,id=serial,path={_escaped(serial)}", "-device", "isa-serial,chardev=serial"]
    if boot:
        argv += _boot(boot)
    for at, disk in enumerate(entry.disks):
        argv += _disk(disk, layers.get(disk.vdev), at)
    argv += ["-incoming", "defer"] if incoming else []
    return [*argv, "-S"]


def node_name(vdev: str, format: Format) -> str:
    """What the image at the root of a disk is called at the start, as QEMU under Xen has it: `xvda-qcow2`."""
    ending = f"-{driver(format)}"
    return f"{vdev[: _NODE_NAME_LENGTH_MAX - len(ending)]}{ending}"


def _disk(disk: DiskEntry, layer: Layer | None, at: int) -> list[str]:
    device = "ide-cd" if disk.cdrom else f"virtio-blk-pci,addr={_FIRST_SLOT + at:#x}"
    if layer is None:
        return ["-device", f"{device},id={disk.vdev}"]
    name = node_name(disk.vdev, layer.format)
    options = image_options(layer, name, readonly=disk.readonly)
    order = f"bootindex={1 + at}"
    return ["-blockdev", json.dumps(options), "-device", f"{device},id={disk.vdev},drive={name},{order}"]


def _boot(boot: Boot) -> list[str]:
    options = image_options(Layer(boot.path, Format.RAW), "boot-raw", readonly=True)
    if boot.floppy:
        device = ["-device", "floppy,drive=boot-raw", "-global", "isa-fdc.bootindexA=0"]
    else:
        device = ["-device", "virtio-blk-pci,addr=0x3,drive=boot-raw,bootindex=0"]
    return ["-blockdev", json.dumps(options), *device]


def _escaped(value: str) -> str:
    return value.replace(",", ",,")
