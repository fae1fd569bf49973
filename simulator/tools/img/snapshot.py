"""`qemu-img snapshot`: the table of internal snapshots listed, and entries made, applied and deleted."""

from collections.abc import Sequence

from simulator.disk import text
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from simulator.disk.snapshots import Entry, Table
from simulator.tools import qemu_img as programs
from simulator.tools.img.arguments import Failed, read
from simulator.tools.img.opening import Opened, is_raw, opened


def snapshot(fs: FileSystem, argv: Sequence[str], cwd: str, now_ns: int) -> tuple[FileSystem, str, str, int]:
    """`-l`, `-c`, `-a` or `-d`."""
    call = read(argv, "la:c:d:hqU", ("image-opts", "force-share", "object=", "help"), cwd=cwd, alone="lacd")
    actions = [(name, value) for name, value in call.given if name in {"l", "a", "c", "d"}]
    name = call.one()
    # Without an action it opens the image for writing and does nothing (measured: 7.2.22).
    action, value = actions[0] if actions else ("", "")
    image = opened(fs, call, name, form=None, writing=action != "l")
    warning = image.warning
    if action in {"", "l"}:
        return fs, listed(image) if action else "", warning, 0
    if action == "c":
        program: programs.Program = programs.SnapshotCreate(image.layer, value)
        return _done(fs, program, now_ns, warning)
    if action == "a":
        return _applied(fs, image, value, now_ns, warning)
    return _deleted(fs, image, value, now_ns, warning)


def listed(image: Opened) -> str:
    """The table, or nothing where it is empty."""
    top = image.top.image
    if not isinstance(top, Qcow2) or not top.table.entries:
        return ""
    return "Snapshot list:\n" + text.entries(top.table)


def _done(fs: FileSystem, program: programs.Program, now_ns: int, warning: str) -> tuple[FileSystem, str, str, int]:
    try:
        for _, step in programs.steps(program):
            fs = step(fs, program, now_ns)
    except programs.ToolError as error:
        failed = Failed(error.words.removeprefix("qemu-img: "), fs=error.fs)
        failed.stderr = warning + failed.stderr
        raise failed from None
    return fs, "", warning, 0


def by_id_or_name(table: Table, wanted: str) -> Entry | None:
    """The entry that `-a` and `-l` mean: ids first (qemu.md 33)."""
    return table.by_id(wanted) or table.by_tag(wanted)


def _applied(fs: FileSystem, image: Opened, value: str, now_ns: int, warning: str) -> tuple[FileSystem, str, str, int]:
    words = f"Could not apply snapshot '{value}': "
    if is_raw(image):
        failed = Failed(f"{words}Block driver does not support snapshots")
        failed.stderr = warning * 2 + failed.stderr
        raise failed
    top = image.top.image
    assert isinstance(top, Qcow2)
    if top.bitmaps:
        raise Failed(f"{words}{programs.BITMAPS_ACTIVE}")
    entry = by_id_or_name(top.table, value)
    if entry is None:
        raise Failed(f"{words}Failed to load snapshot: No such file or directory")
    program = programs.SnapshotApply(image.layer, entry.told.id)
    return _done(fs, program, now_ns, warning)


def _deleted(fs: FileSystem, image: Opened, value: str, now_ns: int, warning: str) -> tuple[FileSystem, str, str, int]:
    top = image.top.image
    entry = top.table.by_tag(value) if isinstance(top, Qcow2) else None
    if entry is None:
        failed = Failed(f"Could not delete snapshot '{value}': snapshot not found")
        failed.stderr = warning + failed.stderr
        raise failed
    return _done(fs, programs.SnapshotDelete(image.layer, value, entry.told.id), now_ns, warning)
