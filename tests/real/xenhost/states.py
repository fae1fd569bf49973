"""The frozen states: the host just booted; for each guest the host with this guest up; and that one with the code.

Each is made once, then kept.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.real.xenhost.cache import CannotMake, fingerprint, kept
from tests.real.xenhost.code import AGENT, HERE, UNUSED_S_MAX, agent_disk
from tests.real.xenhost.dom0 import WAITING, Dom0
from tests.real.xenhost.guests import IMAGES, PROGRAM, Guest, initramfs
from tests.real.xenhost.machine import Frozen, Machine, fingerprint_of_machine

RECIPE = HERE / "recipe"
CREATE_S = 120.0
READY_S = 120.0
PYTHON = "/srv/code/venv/bin/python"
"""The one that has the code under test."""


def image() -> Path:
    """Xen, dom0's kernel and its root disk, from Debian packages. Takes one to four minutes, once."""

    def build(directory: Path) -> None:
        done = subprocess.run([RECIPE / "build.sh", directory], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotMake(f"its image cannot be built: {done.stderr[-3000:]}")

    return kept("image", fingerprint(RECIPE / "build.sh", RECIPE / "unpack.py", RECIPE / "dom0"), build)


def booted() -> Frozen:
    """The host, idle, without any guest. Takes one to three minutes, once."""
    base = image()
    key = fingerprint(base.name, fingerprint_of_machine(), AGENT)

    def boot(directory: Path) -> None:
        with machine(base) as made:
            made.boot()
            dom0 = enter(made, booting=True)
            freeze(made, dom0, directory)

    return Frozen(kept("booted", key, boot), base)


def with_guest(guest: Guest) -> Frozen:
    """The host with this guest up, paused once. From half a minute (PV) to some minutes (HVM), once."""
    host = booted()
    key = fingerprint(host.directory.name, PROGRAM, repr(guest), guest.config())

    def create(directory: Path) -> None:
        with machine(host.image) as made:
            made.thaw(host, to_freeze_again=True)
            dom0 = enter(made)
            start(dom0, guest, initramfs(host.image))
            # Within a nested guest there is more to keep, so none of its CPUs runs while the machine is frozen.
            dom0.run("xl", "pause", guest.name)
            freeze(made, dom0, directory)

    return Frozen(kept(guest.name, key, create), host.image)


def ready(guest: Guest, code: Path) -> Frozen:
    """The same with the code's disk in place, and a process in which all of it is imported. Takes half a minute."""
    up = with_guest(guest)

    def load(directory: Path) -> None:
        with machine(up.image, lambda _: code) as made:
            made.thaw(up, to_freeze_again=True)
            dom0 = enter(made)
            dom0.run(PYTHON, "/srv/code/waiting.py", WAITING, timeout_s=READY_S)
            dom0.close()
            made.freeze(directory)

    key = fingerprint(up.directory.name, code.parent.name)
    return Frozen(kept(f"{guest.name}.ready", key, load, unused_s_max=UNUSED_S_MAX), up.image)


def start(dom0: Dom0, guest: Guest, boots: bytes) -> None:
    """Make a guest's disks and files, create it, and wait until it answers."""
    dom0.put(f"{IMAGES}/guest.img", boots)
    dom0.put(guest.file, guest.config().encode())
    dom0.shell(guest.make_disks())
    dom0.run("xl", "create", guest.file, timeout_s=CREATE_S)
    if dom0.ask_guest(guest.name, "ping", timeout_s=READY_S) != "pong":
        raise RuntimeError(f"{guest.name} does not come up: {dom0.run('xl', 'list')}")


def enter(made: Machine, *, booting: bool = False, mounted: bool = False) -> Dom0:
    """Speak with the agent; while the machine boots, wait for it first. `mounted`, the code is in place already."""
    connection = made.connect_port()
    dom0 = Dom0(connection, made)
    if booting:
        connection.sendall(b"begin\n")
        dom0.wait_for_agent()
    elif not mounted:
        # What dom0 remembers of this disk may be another one's.
        dom0.shell("blockdev --flushbufs /dev/vdb && mount -o ro /dev/vdb /srv/code", timeout_s=120)
    return dom0


def freeze(made: Machine, dom0: Dom0, directory: Path) -> None:
    dom0.shell("umount /srv/code && sync")
    dom0.close()
    made.freeze(directory)


@contextlib.contextmanager
def machine(base: Path, disk: Callable[[Path], Path] = agent_disk) -> Iterator[Machine]:
    """A machine in a directory of its own, which goes with it. The name is short, as those of sockets must be."""
    directory = Path(tempfile.mkdtemp(prefix="xenhost-", dir="/var/tmp"))
    made = Machine(directory, base, disk(directory))
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(directory)
