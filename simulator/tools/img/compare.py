"""`qemu-img compare`."""

from collections.abc import Sequence

from simulator.core.unmodelled import NotModelled
from simulator.disk.chain import sectors, shown
from simulator.disk.content import SECTOR, Run, clip, over
from simulator.disk.filesystem import FileSystem
from simulator.tools.img import progress
from simulator.tools.img.arguments import Call, Failed, read, usage
from simulator.tools.img.opening import Opened, opened


def compare(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """Whether two images show the same: 0 yes, 1 no, 2 and more where that cannot be told."""
    call = read(argv, "hf:F:T:pqsU", ("image-opts", "force-share", "object=", "help"), cwd=cwd, refused=2)
    if len(call.words) != 2:
        raise usage("Expecting two image file names")
    try:
        call.require_cache(status=2)
        one = opened(fs, call, call.words[0], form=call.get("f"), writing=False, status=2)
        other = opened(fs, call, call.words[1], form=call.get("F"), writing=False, status=2)
    except Failed as error:
        error.stdout = progress.closed(call)
        raise
    out, code = _compared(call, one, other)
    # The last line of the progress is ended after the result is told.
    told = progress.shown(call, done=not code).removesuffix("\n")
    return fs, told + out * (not call.has("q")) + progress.closed(call), "", code


def _compared(call: Call, one: Opened, other: Opened) -> tuple[str, int]:
    sizes = one.images[0].size_bytes, other.images[0].size_bytes
    if call.has("s") and sizes[0] != sizes[1]:
        return "Strict mode: Image size mismatch!\n", 1
    if call.has("s"):
        raise NotModelled("qemu-img compare -s of images of one size, which tells what is allocated")
    warning = "Warning: Image size mismatch!\n" if sizes[0] != sizes[1] else ""
    least = min(sectors(one.images[0]), sectors(other.images[0]))
    at = _difference(list(shown(one.images)), list(shown(other.images)), least)
    if at is not None:
        warning = warning if at >= least else ""
        return f"{warning}Content mismatch at offset {at * SECTOR}!\n", 1
    return f"{warning}Images are identical.\n", 0


def _difference(one: list[Run], other: list[Run], least: int) -> int | None:
    """The first sector that is not the same. Beyond the end of the shorter one the other must be zero."""
    end = max([least, *(run[1] for run in (*one, *other))])
    left, right = (over(clip(runs, 0, end), [(0, end, 0)]) for runs in (one, other))
    borders = sorted({run[0] for run in (*left, *right)} | {least})
    for low in borders:
        if low < end and _at(left, low) != _at(right, low):
            return low
    return None


def _at(runs: list[Run], sector: int) -> int:
    return next((run[2] for run in runs if run[0] <= sector < run[1]), 0)
