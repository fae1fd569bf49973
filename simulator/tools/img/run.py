"""qemu-img as a program: which subcommand, and how its end is told."""

import posixpath
from collections.abc import Callable, Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.filesystem import FileSystem
from simulator.tools.img import amend, bitmap, change, compare, copy, create, dd, look, mapping, measure, snapshot
from simulator.tools.img.arguments import VERSION, Failed, Helped, helped, usage
from simulator.tools.qemu_img import ToolError


class Done(msgspec.Struct, frozen=True):
    """How the program has ended, and the files after it."""

    fs: FileSystem
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""


Subcommand = Callable[[FileSystem, Sequence[str], str, int], tuple[FileSystem, str, str, int]]

SUBCOMMANDS: dict[str, Subcommand] = {
    "amend": amend.amend,
    "bitmap": bitmap.bitmap,
    "check": look.check,
    "commit": change.commit,
    "compare": compare.compare,
    "convert": copy.convert,
    "create": create.create,
    "dd": dd.dd,
    "info": look.info,
    "map": mapping.map_,
    "measure": measure.measure,
    "rebase": change.rebase,
    "resize": change.resize,
    "snapshot": snapshot.snapshot,
}
NOT_MODELLED = frozenset({"bench"})

LIMITS = {
    "amend": "of `-o` compat, size, refcount_bits, lazy_refcounts and an unchanged backing file",
    "bitmap": "which bits are set is not kept",
    "check": "`-r all` of sound images alone",
    "compare": "`-s` of images of different sizes alone",
    "convert": "`-O qcow2` and `raw`",
    "create": "qcow2 and raw; `-o` with all but encryption, data_file and preallocation together with extended_l2",
    "dd": "`-O qcow2` and `raw`",
    "map": "places are those of the file that a reader would get, and holes of a raw image are blocks of 4 KiB that "
    "nobody has written to",
}
"""What is not, or is otherwise, of the options that are read; of all of them `--object` takes only secrets, and
`--image-opts` and `json:` only a plain file.
"""


def run(fs: FileSystem, argv: Sequence[str], *, cwd: str = "/", now_ns: int = 0) -> Done:
    """`qemu-img ARGV…` on these files. `NotModelled` for what is not modelled."""
    try:
        if not argv:
            raise usage("Not enough arguments")
        name, *rest = argv
        if name in {"--version", "-V"}:
            return Done(fs, 0, VERSION)
        if name in {"--help", "-h"}:
            return Done(fs, 0, helped())
        subcommand = SUBCOMMANDS.get(name)
        if subcommand is None:
            if name in NOT_MODELLED or name in {"-T", "--trace"} or name.startswith("--trace="):
                raise NotModelled(f"qemu-img {name}")
            if name.startswith("-"):
                raise usage(f"unrecognized option '{name}'")
            raise usage(f"Command not found: {name}")
        after, out, err, code = subcommand(fs, rest, posixpath.normpath(cwd), now_ns)
        return Done(after, code, out, err)
    except Helped:
        return Done(fs, 0, helped())
    except Failed as error:
        return Done(error.fs or fs, error.status, error.stdout, error.stderr)
    except ToolError as error:
        return Done(error.fs or fs, 1, error.stdout, error.words + "\n")
