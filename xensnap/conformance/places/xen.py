"""A real Xen host made ready to be tried: a new directory for every case, and domains whose names nobody else has.

What is touched: that directory, in which images, configuration files and snapshots lie; the domains that are started
from there; and what xl itself writes for them, its logs, which are removed again. What else is on the host is looked
at only, and told as `inventory`, which must be the same before and after each case.
"""

import os
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from xensnap.backends.xen.host import LOGS, MONITORS, ROOT, XenHost, this_machine
from xensnap.conformance.places import boot_guest, images
from xensnap.conformance.places.telling import Listen, TellingGuests
from xensnap.conformance.workplace import Content, Missing, Program, Wish
from xensnap.errors import NotFound, Reason, Refused, Usage
from xensnap.hosts import SIMULATED
from xensnap.hypervisor import Hypervisor
from xensnap.model import Disk, DomId, RunState

VARIABLE = "XENSNAP_XEN_GUEST"
"""What guests are made of: `KERNEL,RAMDISK`, or `KERNEL,RAMDISK,KIND`; see `GuestKit`."""

IMAGES = "/var/lib/xen/images"
CONFIGURATIONS = "/etc/xen"
MEMORY_MIB = 128
_DISKS = "disk = [ "
PATIENCE_S = 600.0
"""How long a guest is waited for: a host inside an emulator takes minutes for what others do in seconds."""


class GuestKit(msgspec.Struct, frozen=True):
    """What a guest is made of.

    Attributes:
        kernel: path of a Linux kernel on the host.
        ramdisk: path of its initial file system, with the program of `xen_guest.c`.
        kind: `pvh`, `pv` or `hvm`, as `type` in xl.cfg(5). Debian's Xen saves no pv guest live.
    """

    kernel: str
    ramdisk: str
    kind: str = "pvh"


class Hands(Protocol):
    """What is done to a host beside its ports, to try it."""

    def run(self, *argv: str) -> str:
        """What a program of the host prints that has to succeed."""

    def write(self, disk: Disk, block: int, blocks: int, number: int) -> None:
        """Write to a disk of a domain that is off, as its guest would."""

    def shows(self, disk: Disk) -> Content:
        """What a disk of a domain that is off shows."""

    def console(self, domid: DomId) -> str:
        """All that a guest has said since it has this domid."""


class XenPlace(TellingGuests):
    """The `Workplace` of one new directory on a Xen host.

    Args:
        host: whose snapshot store lies in that directory.
        directory: absolute; must not exist, and its parent must.
        hands: what is done beside the ports.
        guest: what guests are made of; cases that start one are not run where none is given.

    Raises:
        Refused: the directory is there already.
    """

    def __init__(self, host: XenHost, *, directory: str, hands: Hands, guest: GuestKit | None = None) -> None:
        super().__init__(PATIENCE_S)
        self.host: Hypervisor = host
        self._xen = host
        self._directory = directory
        self._hands = hands
        self._guest = guest
        self._names: list[str] = []
        if host.run(host.files.stat(directory)) is not None:
            raise Refused([Reason("not-empty", f"{directory} is there already", "Choose another directory.")])
        host.run(host.files.mkdir(directory))

    def versions(self) -> Mapping[str, str]:
        """See Workplace."""
        rows = (line.split(":", 1) for line in self._hands.run("xl", "info").splitlines() if ":" in line)
        xen = next((value.strip() for name, value in rows if name.strip() == "xen_version"), "unknown")
        qemu_img = self._hands.run("qemu-img", "--version").split()[2]
        return {"Xen": xen, "qemu-img": qemu_img}

    def objects(self, name: str, disks: Sequence[Wish]) -> tuple[str, ...]:
        """Every file that a domain of this name has on the host, and those that xl makes for it once it runs."""
        inside = [f"{name}.cfg", *(self._image(name, wish) for wish in disks if not wish.empty), "snapshots/"]
        return (*(f"{self._directory}/{each}" for each in inside), *(f"{LOGS}/{log}" for log in _logs(name)))

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        """See Workplace.

        Raises:
            Refused: somebody else's domain or log has the name; nothing was touched.
            Missing: a guest is wanted, and nobody has said what it could be made of.
        """
        if guest and self._guest is None:
            raise Missing(f"nobody said what a guest is made of: {VARIABLE}=KERNEL,RAMDISK")
        self._require_free(name)
        self._names.append(name)
        for wish in disks:
            if not wish.empty:
                self._hands.run(*images.creating(f"{self._directory}/{self._image(name, wish)}", wish))
        path = self._file(name)
        text = self._configuration(name, disks)
        self.host.run(self.host.files.create(path, text.encode()))
        self.host.run(self._xen.learn(path, remember=True))

    def attach(self, name: str, wish: Wish) -> None:
        """See Drives."""
        self._hands.run(*images.creating(f"{self._directory}/{self._image(name, wish)}", wish))
        self._describe(name, lambda disks: [*disks, self._disk(name, wish)])

    def detach(self, name: str, vdev: str) -> None:
        """See Drives."""
        self._describe(name, lambda disks: [disk for disk in disks if f"vdev={vdev}," not in disk])

    def qemu_img(self, *words: str) -> None:
        """See Strangers."""
        self._hands.run("qemu-img", *words)

    def write(self, name: str, vdev: str, block: int, blocks: int, number: int) -> None:
        """See Workplace."""
        disk = self.host.run(self.host.toolstack.inspect(name)).disk(vdev)
        assert disk is not None, f"{name} has no {vdev}"
        self._hands.write(disk, block, blocks, number)

    def shows(self, disk: Disk) -> Content:
        """See Workplace."""
        return self._hands.shows(disk)

    def listen(self, name: str) -> Listen:
        """See TellingGuests. xl is asked once: on a host that is starved it would take all time from the guest."""
        domid = self.host.run(self.host.toolstack.inspect(name)).domid
        return lambda: boot_guest.reports(self._hands.console(domid)) if domid is not None else []

    def inventory(self) -> frozenset[str]:
        """See Workplace: all domains, and the names in all directories in which something of ours could be left."""
        return self._others() | {f"log {LOGS}/{log}" for name in self._names for log in self._logs_of(name)}

    def close(self) -> None:
        """See Workplace."""
        for domain in self.host.run(self.host.toolstack.domains()):
            if domain.name in self._names and domain.state is not RunState.OFF:
                self.host.run(self.host.toolstack.destroy(domain))
        self._clear(self._directory)
        for name in self._names:
            for log in self._logs_of(name):
                self._hands.run("rm", f"{LOGS}/{log}")

    def _clear(self, directory: str) -> None:
        run, files = self.host.run, self.host.files
        for name in run(files.names(directory)):
            path = f"{directory}/{name}"
            stat = run(files.stat(path))
            if stat is not None and stat.is_dir:
                self._clear(path)
                continue
            if run(files.is_immutable(path)):
                run(files.set_immutable(path, on=False))
            run(files.remove(path))
        self._hands.run("rmdir", directory)

    def _require_free(self, name: str) -> None:
        domains = self.host.run(self.host.toolstack.domains())
        taken = [f"the domain {name}"] if any(domain.name == name for domain in domains) else []
        taken += [f"{LOGS}/{log}" for log in self._logs_of(name)]
        if taken:
            remedy = "Leave --prefix out, or give another one: only names that nobody has are used."
            raise Refused([Reason("name-taken", f"there is {taken[0]} already, and it is not ours", remedy)])

    def _logs_of(self, name: str) -> tuple[str, ...]:
        """The logs that xl and QEMU have of a domain of this very name, turned over or not, as paths below `LOGS`."""
        names = self.host.run(self.host.files.names(LOGS))
        return tuple(each for each in names if each.startswith(_logs(name)))

    def _others(self) -> frozenset[str]:
        run, files = self.host.run, self.host.files
        domains = {f"domain {domain.name} {domain.uuid}" for domain in run(self.host.toolstack.domains())}
        places = (self._directory.rpartition("/")[0], CONFIGURATIONS, ROOT)
        found = {f"{place}/{name}" for place in places for name in run(files.names(place))} - {self._directory}
        return frozenset(domains | {f"file {path}" for path in found})

    def _file(self, name: str) -> str:
        return f"{self._directory}/{name}.cfg"

    def _describe(self, name: str, disks: Callable[[list[str]], list[str]]) -> None:
        """Write the operator's file anew, with other disks than it has, and say so."""
        path = self._file(name)
        text = self.host.run(self.host.files.read(path)).decode()
        before, _, told = text.partition(_DISKS)
        after = disks([each.strip('"') for each in told.removesuffix(" ]\n").split(", ")])
        self.host.run(self.host.files.replace(path, f"{before}{_disks(after)}\n".encode()))
        self.host.run(self._xen.learn(path, remember=True))

    def _image(self, name: str, wish: Wish) -> str:
        return f"{name}-{wish.vdev}.{wish.format}"

    def _configuration(self, name: str, disks: Sequence[Wish]) -> str:
        """The file that the domain is started from. Without a word xl gives a raw image to the kernel, not to QEMU."""
        uuid = self.host.run(self.host.machine.fresh_id())
        kind = self._guest.kind if self._guest else "hvm"
        lines = [f'name = "{name}"', f'uuid = "{uuid}"', f'type = "{kind}"', f"memory = {MEMORY_MIB}", "vcpus = 1"]
        if self._guest:
            writable = ",".join(wish.vdev for wish in disks if not (wish.readonly or wish.cdrom or wish.empty))
            extra = f"console=hvc0 quiet loglevel=0 panic=0 disks={writable}"
            lines += [f'kernel = "{self._guest.kernel}"', f'ramdisk = "{self._guest.ramdisk}"', f'extra = "{extra}"']
        if kind == "hvm":
            lines += ['vga = "none"', "vnc = 0"]
        return "\n".join([*lines, _disks([self._disk(name, wish) for wish in disks])]) + "\n"

    def _disk(self, name: str, wish: Wish) -> str:
        access = "ro" if wish.readonly or wish.cdrom or wish.empty else "rw"
        kind = ",devtype=cdrom" if wish.cdrom or wish.empty else ""
        target = "" if wish.empty else f",backendtype=qdisk,target={self._directory}/{self._image(name, wish)}"
        return f"format={wish.format},vdev={wish.vdev},access={access}{kind}{target}"


def _disks(disks: list[str]) -> str:
    """The last line of a configuration file."""
    told = ", ".join(f'"{disk}"' for disk in disks)
    return f"{_DISKS}{told} ]"


def _logs(name: str) -> tuple[str, ...]:
    return (f"xl-{name}.log", f"qemu-dm-{name}.log")


class LocalHands:
    """The `Hands` of the machine that this runs on.

    Args:
        scratch: a directory of our own, for content on its way; made when it is used first.
    """

    def __init__(self, scratch: str) -> None:
        self._scratch = Path(scratch)
        self._consoles: dict[DomId, tuple[int, bytearray]] = {}

    def run(self, *argv: str) -> str:
        """See Hands."""
        return images.run(*argv)

    def write(self, disk: Disk, block: int, blocks: int, number: int) -> None:
        """See Hands."""
        images.write(disk, block, blocks, number, scratch=self._scratch)

    def shows(self, disk: Disk) -> Content:
        """See Hands."""
        return images.shows(disk, scratch=self._scratch)

    def console(self, domid: DomId) -> str:
        """See Hands. What a guest says before somebody listens xenconsoled keeps, up to a mebibyte (Xen 4.17.7)."""
        if domid not in self._consoles:
            fd = _opened_console(domid)
            if fd is None:
                return ""
            self._consoles[domid] = fd, bytearray()
        fd, heard = self._consoles[domid]
        with suppress(OSError):  # nothing more for now; or the guest, and its console with it, has gone
            while part := os.read(fd, 1 << 16):
                heard += part
        return heard.decode("ascii", "replace")

    def hang_up(self) -> None:
        """Let go of all consoles."""
        for fd, _ in self._consoles.values():
            os.close(fd)
        self._consoles.clear()


def _opened_console(domid: DomId) -> int | None:
    """The terminal of a guest's console, raw; None where it has none yet."""
    try:
        path = images.run("xenstore-read", f"/local/domain/{domid}/console/tty").strip()
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except (RuntimeError, OSError):
        return None
    with suppress(termios.error):
        tty.setraw(fd)
    return fd


class LocalXenPlace(XenPlace):
    """The `Workplace` of a new directory on the Xen host that this runs on.

    Args:
        below: directory to make it in; the usual one for images where none is given.

    Raises:
        Usage: this is no Xen host, or we may not work on it.
    """

    def __init__(self, below: str | None = None) -> None:
        _require_xen()
        parent = Path(below or IMAGES).absolute()
        if not parent.is_dir():
            raise NotFound(f"there is no directory {parent}", id="no-such-directory", remedy="Say --host xen:DIR.")
        directory = f"{parent}/xensnap-conformance-{os.urandom(4).hex()}"
        hands = LocalHands(directory)
        self._local = hands
        super().__init__(this_machine(root=f"{directory}/snapshots"), directory=directory, hands=hands, guest=kit())

    def objects(self, name: str, disks: Sequence[Wish]) -> tuple[str, ...]:
        """As XenPlace. Each case has a directory of its own, which a `*` stands for here."""
        new = f"{self._directory.rpartition('-')[0]}-*"
        return tuple(path.replace(self._directory, new) for path in super().objects(name, disks))

    @contextmanager
    def command(self) -> Iterator[Program]:
        """See Commands."""
        yield images.our_command("--root", f"{self._directory}/snapshots", host="xen")

    def small(self) -> AbstractContextManager[None]:
        """See Room."""
        return images.small_file_system(Path(self._directory))

    def leaving(self, free_bytes: int) -> AbstractContextManager[None]:
        """See Room."""
        return images.ballast(Path(self._directory), free_bytes)

    def monitor(self, name: str) -> str:
        """See Monitors."""
        return f"{MONITORS}/qmp-libxenstat-{self.host.run(self.host.toolstack.inspect(name)).domid}"

    def close(self) -> None:
        """See Workplace."""
        self._local.hang_up()
        super().close()


def _require_xen() -> None:
    if os.environ.get(SIMULATED):
        raise Usage("this Xen host is simulated", id="bad-host", remedy="Say --host doors, which tries the same code.")
    if os.geteuid() != 0:
        raise Usage("only root may try a Xen host", id="bad-host", remedy="Run it as root in dom0.")


def kit() -> GuestKit | None:
    """What the environment says that guests are made of.

    Raises:
        Usage: what it says makes no sense.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    kernel, _, rest = text.partition(",")
    ramdisk, _, kind = rest.partition(",")
    wrong = [path for path in (kernel, ramdisk) if not Path(path).is_absolute() or not Path(path).is_file()]
    if wrong or kind not in ("", "pvh", "pv", "hvm"):
        what = f"{wrong[0]!r} is no file with an absolute path" if wrong else f"{kind!r} is no kind of guest"
        raise Usage(f"{VARIABLE}: {what}", remedy=f"Say {VARIABLE}=KERNEL,RAMDISK or KERNEL,RAMDISK,pvh|pv|hvm.")
    return GuestKit(kernel, ramdisk, *([kind] if kind else []))
