"""What changes images: `qemu-img commit`, `rebase` and `resize`."""

import posixpath
from collections.abc import Sequence

from simulator.disk import operations as op
from simulator.disk.chain import below_named
from simulator.disk.drivers import DRIVERS
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from simulator.tools import qemu_img as programs
from simulator.tools.img import progress
from simulator.tools.img.arguments import Call, Failed, a_number, read, usage
from simulator.tools.img.fresh import preallocated
from simulator.tools.img.opening import Opened, as_given, format_given, is_raw, opened, probed, without_cache
from simulator.tools.img.options import valued
from xensnap.model import Format, Layer

_SHRINK = (
    "Use the --shrink option to perform a shrink operation.\n"
    "qemu-img: warning: Shrinking an image will delete all data beyond the shrunken image's end. Before performing "
    "such an operation, make sure there is no important data there."
)


def _steps(fs: FileSystem, program: programs.Program, now_ns: int) -> FileSystem:
    for _, step in programs.steps(program):
        fs = step(fs, program, now_ns)
    return fs


# --- commit ----------------------------------------------------------------------------------------------------------


def commit(fs: FileSystem, argv: Sequence[str], cwd: str, now_ns: int) -> tuple[FileSystem, str, str, int]:
    """Into the backing file, or with `-b` further down; without `-d` and `-b` the overlay is emptied (qemu.md 61)."""
    rate = {"r": a_number("rate limit")}
    call = read(argv, "f:ht:b:dpqr:", ("image-opts", "object=", "help"), cwd=cwd, checks=rate)
    name = call.one()
    call.require_cache()
    image = opened(fs, call, name, form=format_given(call), writing=True)
    try:
        fs = _committed(fs, call, image, now_ns)
    except (Failed, programs.ToolError) as error:
        error.stdout = progress.shown(call, done=False)
        raise
    said = "" if call.has("q") else "Image committed.\n"
    return fs, progress.shown(call) + said, image.warning, 0


def _committed(fs: FileSystem, call: Call, image: Opened, now_ns: int) -> FileSystem:
    base = call.get("b")
    target = _below(image, call.path(base)) if base is not None else image.links[1] if len(image.links) > 1 else None
    if target is None:
        words = "Image does not have a backing file"
        missing = f"Did not find '{base}' in the backing chain of '{call.one()}'"
        raise _warned(image, Failed(missing if base else words))
    program = programs.Commit(image.layer, Layer(target.path, Format(target.format)))
    fs = _steps(fs, program, now_ns)
    if base is None and not call.has("d"):
        fs = _emptied(fs, image)
    return fs


def _warned(image: Opened, failed: Failed) -> Failed:
    failed.stderr = image.warning + failed.stderr
    return failed


def _below(image: Opened, path: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return next((link for link in image.links[1:] if link.path == path), None)


def _emptied(fs: FileSystem, image: Opened) -> FileSystem:
    number = image.top.number
    top = fs.inodes[number].stored  # type: ignore[union-attr]
    assert isinstance(top, Qcow2)
    return fs.store(number, op.emptied(top), image.top.path).sync(image.top.path)


# --- rebase ----------------------------------------------------------------------------------------------------------


def rebase(fs: FileSystem, argv: Sequence[str], cwd: str, now_ns: int) -> tuple[FileSystem, str, str, int]:
    """Another backing file: safe, which copies what would read differently, or with `-u` in the header only."""
    call = read(argv, "hf:F:b:upt:T:qU", ("image-opts", "object=", "force-share", "help"), cwd=cwd)
    name = call.one()
    unsafe = call.has("u")
    if not call.has("b") and not unsafe:
        raise usage("Must specify backing file (-b) or use unsafe mode (-u)")
    try:
        call.require_cache()
        # Here `-U` is about what it stands on.
        image = opened(fs, call, name, form=format_given(call), writing=True, backing=not unsafe, sharing=False)
        fs = _onto(fs, call, image, now_ns)
    except Failed as error:
        if not call.has("b"):
            error.stderr = error.stderr.replace("the backing file to ''", "the backing file to '(null)'")
        # All is copied by the time the header is refused.
        error.stdout = progress.shown(call, done="Could not change the backing file" in error.stderr)
        raise
    return fs, progress.shown(call), image.warning, 0


def _onto(fs: FileSystem, call: Call, image: Opened, now_ns: int) -> FileSystem:
    base, base_format, unsafe = call.get("b") or "", call.get("F"), call.has("u")
    if base_format is not None and base_format not in DRIVERS:
        raise _warned(image, Failed(f"Invalid format name: '{base_format}'"))
    lower = posixpath.join(posixpath.dirname(image.top.path), base)
    if base and not unsafe:
        below_named(image.top.path, base)  # refuses what names no file
    if base and base_format is None:
        if not unsafe:
            # The copy comes first, then the header is refused (qemu.md 66).
            program = programs.Rebase(image.layer, base, probed(fs, lower), copy=True)
            fs = _rebased(fs, call, image, program, now_ns, steps=-1)
        raise _warned(
            image, Failed(f"Could not change the backing file to '{base}': backing format must be specified", fs=fs)
        )
    program = programs.Rebase(image.layer, base, base_format or "", copy=not unsafe)
    return _rebased(fs, call, image, program, now_ns)


def _rebased(
    fs: FileSystem, call: Call, image: Opened, program: programs.Rebase, now_ns: int, *, steps: int | None = None
) -> FileSystem:
    """The program's steps, the last left out where so asked; its words call files as the command line did."""
    name = call.one()
    lower = posixpath.join(posixpath.dirname(image.top.path), program.backing_name)
    shown = posixpath.join(posixpath.dirname(name), program.backing_name)
    try:
        for _, step in programs.steps(program)[:steps]:
            fs = step(fs, program, now_ns)
    except programs.ToolError as error:
        words = as_given(error.words.removeprefix("qemu-img: "), lower, shown)
        words = words if lower == image.top.path else as_given(words, image.top.path, name)
        words = without_cache(words) if call.past_cache(writing=False) else words
        raise _warned(image, Failed(words, fs=error.fs)) from None
    return fs


# --- resize ----------------------------------------------------------------------------------------------------------


def resize(fs: FileSystem, argv: Sequence[str], cwd: str, now_ns: int) -> tuple[FileSystem, str, str, int]:
    """To a size, or by `+` or `-` a size, which stands last and is no option."""
    if len(argv) < 2 and not (argv and argv[0].startswith("-")):
        raise usage("Not enough arguments")
    *rest, size_text = argv or [""]
    long = ("preallocation=", "shrink", "image-opts", "object=", "help")
    call = read(rest, "f:hq", long, cwd=cwd, checks={"preallocation": _require_preallocation})
    if len(call.words) != 1:
        raise usage("Expecting image file name and size")
    name = call.words[0]
    preallocation = call.get("preallocation") or "off"
    sign = size_text[:1] if size_text[:1] in {"+", "-"} else ""
    size = valued("size", "size", size_text.removeprefix(sign) if sign else size_text)
    assert isinstance(size, int)
    if size >= 1 << 63:
        size -= 1 << 64  # as QEMU reads it
    image = opened(fs, call, name, form=format_given(call), writing=True)
    before = image.images[0].size_bytes
    wanted = before + size if sign == "+" else before - size if sign == "-" else size
    if wanted <= 0:
        raise _warned(image, Failed("New image size must be positive"))
    if preallocation != "off":
        if wanted <= before:
            raise _warned(image, Failed("Preallocation can only be used for growing images"))
        if is_raw(image) and preallocation == "metadata":
            raise _warned(image, Failed("Unsupported preallocation mode: metadata"))
    if wanted < before and not call.has("shrink"):
        raise _warned(image, Failed(_SHRINK))
    fs, *told = _resized(fs, call, image, wanted, now_ns)
    grown = fs.inodes[image.top.number].stored  # type: ignore[union-attr]
    if preallocation != "off" and isinstance(grown, Qcow2):
        fs = fs.store(image.top.number, preallocated(grown, before), image.top.path).sync(image.top.path)
    return fs, *told  # type: ignore[return-value]


def _require_preallocation(mode: str) -> None:
    if mode not in {"off", "metadata", "falloc", "full"}:
        raise Failed(f"Invalid preallocation mode '{mode}'")


def _resized(fs: FileSystem, call: Call, image: Opened, wanted: int, now_ns: int) -> tuple[FileSystem, str, str, int]:
    try:
        fs = _steps(fs, programs.Resize(image.layer, wanted), now_ns)
    except programs.ToolError as error:
        raise _warned(image, Failed(error.words.removeprefix("qemu-img: "), fs=error.fs)) from None
    return fs, "" if call.has("q") else "Image resized.\n", image.warning, 0
