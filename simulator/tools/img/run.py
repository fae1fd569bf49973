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

_SUBCOMMANDS: dict[str, Subcommand] = {
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

OPTIONS = {
    "amend": "`-o` with compat, size, refcount_bits, lazy_refcounts and an unchanged backing file; `-f`, `-p`, `-q`",
    "bitmap": "all but `--object`; which bits are set is not kept",
    "check": "`-f`, `-r leaks`, `--output`, `-q`, `-U`; `-r all` of sound images",
    "commit": "`-b`, `-d`, `-f`, `-q`",
    "compare": "`-f`, `-F`, `-q`, `-U`; `-s` of different sizes",
    "convert": "`-f`, `-O qcow2` and `raw`, `-l`, `-n`, `-o`, `-B`, `-F`, `-S`, `-C`, `-c`, `-p`, `-q`, `-U`, "
    "`--target-image-opts`, of several images, too",
    "create": "qcow2 and raw; `-b`, `-F`, `-u`, `-q`; `-o` with all but encryption, data_file and "
    "preallocation together with extended_l2",
    "dd": "`-f`, `-O qcow2` and `raw`, `-U`; `bs`, `count`, `if`, `of` and `skip`",
    "info": "`-f`, `--output`, `--backing-chain`, `-U`",
    "map": "`-f`, `--output`, `-s`, `-l`, `-U`; places are those of the file that a reader would get, and holes of a "
    "raw image are blocks of 4 KiB that nobody has written to",
    "measure": "`-O`, `-l`, `-o`, `--size`, `--output`",
    "rebase": "`-b`, `-F`, `-u`, `-f`, `-q`",
    "resize": "`+` and `-`, `--shrink`, `--preallocation`, `-f`, `-q`",
    "snapshot": "`-l`, `-c`, `-a`, `-d`, `-q`, `-U`",
}
"""What is modelled of each, for people; all of them take `--image-opts` and `json:` with a plain file, too."""


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
        subcommand = _SUBCOMMANDS.get(name)
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
