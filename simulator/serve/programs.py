"""Door three for tools: a program by its name, run on a world. The very same functions serve a `Runner` in process."""

# ruff: noqa: PLC0415 -- each call is a process of its own that needs one program only

from collections.abc import Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.serve.ended import Ended, Told
from simulator.world import World

replace = msgspec.structs.replace

NAMES = (
    "qemu-img",
    "qemu-storage-daemon",
    "xl",
    "xenstore-exists",
    "xenstore-list",
    "xenstore-ls",
    "xenstore-read",
    "xenstore-rm",
    "xenstore-write",
)

STEP_NS = 8_000_000
"""How long a tool takes: qemu-img 7.2.22 needs about 8 ms from end to end."""


def run(world: World, argv: Sequence[str], told: Told | None = None) -> Ended:
    """One program to its end. `NotModelled` where it does something that is not modelled."""
    told = told or Told()
    name, *rest = argv
    world = later(world)
    if name == "qemu-img":
        from simulator.tools.img.run import run as qemu_img

        done = qemu_img(world.fs, rest, cwd=told.cwd, now_ns=world.clock.now_ns)
        return Ended(world.with_fs(done.fs), done.returncode, done.stdout, done.stderr)
    if name == "xl":
        from simulator.serve.xl.run import run as xl

        return xl(world, rest, told)
    if name.startswith("xenstore-"):
        from simulator.serve import xenstore

        return xenstore.run(world, name, rest)
    if name == "qemu-storage-daemon":
        from simulator.serve import storage_daemon

        return storage_daemon.run(world, rest, told)
    if name == "cp":
        return _copied(world, rest)
    if name == "cmp":
        return _compared(world, rest)
    raise NotModelled(f"the program {name}")


def later(world: World) -> World:
    """A program has been started, which takes its time."""
    return replace(world, clock=world.clock.after(STEP_NS))


def _copied(world: World, argv: Sequence[str]) -> Ended:
    """`cp` of one file into one that is there; holes stay holes, since an image is no heap of bytes here."""
    source, target = (word for word in argv if not word.startswith("--"))
    try:
        stored = world.fs.inode(source).stored
        return Ended(world.with_fs(world.fs.update(target, lambda _: stored)))
    except OSError as error:
        return Ended(world, 1, "", f"cp: error copying '{source}' to '{target}': {error.strerror}\n")


def _compared(world: World, argv: Sequence[str]) -> Ended:
    """`cmp` of two files."""
    one, other = (word for word in argv if not word.startswith("--"))
    try:
        same = world.fs.inode(one).stored == world.fs.inode(other).stored
    except OSError as error:
        return Ended(world, 2, "", f"cmp: {one}: {error.strerror}\n")
    return Ended(world, 0) if same else Ended(world, 1, f"{one} {other} differ: byte 1, line 1\n")
