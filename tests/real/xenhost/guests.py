"""The guests: their one program packed for booting, their disks, and their configuration files."""

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.real.xenhost.code import HERE

IMAGES = "/var/lib/xen/images"
PROGRAM = HERE / "recipe" / "guest.c"


@dataclass(frozen=True, slots=True)
class GuestDisk:
    """One disk of a guest, as its configuration file has it."""

    vdev: str
    format: str = "qcow2"
    cdrom: bool = False
    size: str = "32M"

    def path(self, guest: str) -> str:
        return f"{IMAGES}/{guest}-{self.vdev}.{'iso' if self.cdrom else self.format}"

    def line(self, path: str) -> str:
        access, kind = ("ro", "devtype=cdrom,") if self.cdrom else ("rw", "")
        # Without a word xl gives a raw image to the kernel, where QMP does not know it.
        return f"format={self.format},vdev={self.vdev},access={access},{kind}backendtype=qdisk,target={path}"


@dataclass(frozen=True, slots=True)
class Guest:
    """One domain: what is written into its file, and how its disks are made."""

    name: str
    type: str
    memory_mib: int
    disks: tuple[GuestDisk, ...] = (GuestDisk("xvda"), GuestDisk("xvdb"))
    uuid: str | None = None
    more: tuple[str, ...] = field(default=())

    @property
    def file(self) -> str:
        return f"/etc/xen/{self.name}.cfg"

    def config(self, **moved: str) -> str:
        """The configuration file; `moved` gives other paths to some vdevs."""
        disks = ",\n  ".join(repr(disk.line(moved.get(disk.vdev, disk.path(self.name)))) for disk in self.disks)
        lines = [f'name = "{self.name}"', f'type = "{self.type}"', f"memory = {self.memory_mib}", "vcpus = 1"]
        # Xen's builder loads the unpacked kernel; that of HVM guests comes through QEMU, which wants the packed one.
        lines += [
            f'kernel = "{IMAGES}/{"vmlinuz" if self.type == "hvm" else "vmlinux"}"',
            f'ramdisk = "{IMAGES}/guest.img"',
        ]
        lines += ['extra = "console=hvc0 quiet loglevel=0 panic=0"', 'on_crash = "preserve"']
        lines += [f'uuid = "{self.uuid}"'] if self.uuid else []
        return "\n".join([*lines, *self.more, f"disk = [\n  {disks}\n]"]) + "\n"

    def make_disks(self) -> str:
        """The commands that make its disks, empty but for a cdrom's first bytes."""
        made = [f"qemu-img create -q -f {disk.format} {disk.path(self.name)} {disk.size}" for disk in self.disks]
        filled = [f"echo 'a disc' | dd conv=notrunc status=none of={d.path(self.name)}" for d in self.disks if d.cdrom]
        return "\n".join([*made, *filled])


PV = Guest("pv1", "pv", 128, uuid="11111111-1111-4111-8111-111111111111")
PVH = Guest("pvh1", "pvh", 128, uuid="22222222-2222-4222-8222-222222222222")
HVM = Guest("hvm1", "hvm", 160, uuid="33333333-3333-4333-8333-333333333333", more=('vga = "none"', "vnc = 0"))
MANY = Guest(
    "pv4",
    "pv",
    128,
    uuid="44444444-4444-4444-8444-444444444444",
    disks=(GuestDisk("xvda"), GuestDisk("xvdb", "raw"), GuestDisk("xvdc"), GuestDisk("xvdd", "raw", cdrom=True)),
)
GUESTS = {guest.name: guest for guest in (PV, PVH, HVM, MANY)}


def initramfs(image: Path, program: Path = PROGRAM) -> bytes:
    """What a guest boots into: its one program, in C, and the kernel modules that show it its disks."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for name in ("proc", "sys", "dev", "modules"):
            (tree / name).mkdir()
        subprocess.run(["gcc", "-O2", "-Wall", "-static", "-o", tree / "init", program], check=True)
        (tree / "sbin").mkdir()
        (tree / "sbin" / "poweroff").symlink_to("/init")
        for module in (image / "modules").iterdir():
            (tree / "modules" / module.name).write_bytes(module.read_bytes())
        pack = "find . | cpio --quiet -o -H newc | gzip -9"
        return subprocess.run(["/bin/sh", "-c", pack], cwd=tree, check=True, capture_output=True).stdout
