"""qemu-img as a program: which subcommand, and how its end is told."""

import posixpath
from collections.abc import Callable, Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.filesystem import FileSystem
from simulator.tools.img import amend, bitmap, change, compare, copy, create, look, mapping, snapshot
from simulator.tools.img.arguments import Failed, usage
from simulator.tools.qemu_img import ToolError

VERSION = "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n"
_COPYRIGHT = "Copyright (c) 2003-2022 Fabrice Bellard and the QEMU Project developers\n"


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
    "info": look.info,
    "map": mapping.map_,
    "measure": copy.measure,
    "rebase": change.rebase,
    "resize": change.resize,
    "snapshot": snapshot.snapshot,
}
NOT_MODELLED = frozenset({"bench", "dd"})

OPTIONS = {
    "amend": "`-o` with compat, size, refcount_bits, lazy_refcounts and an unchanged backing file; `-f`, `-p`, `-q`",
    "bitmap": "all but `--object`; which bits are set is not kept",
    "check": "`-f`, `-r leaks`, `--output`, `-q`, `-U`; `-r all` of sound images",
    "commit": "`-b`, `-d`, `-f`, `-q`",
    "compare": "`-f`, `-F`, `-q`, `-U`; `-s` of different sizes",
    "convert": "`-f`, `-O qcow2` and `raw`, `-l`, `-n`, `-q`, `-U`",
    "create": "qcow2 and raw; `-b`, `-F`, `-u`, `-q`; `-o` with cluster_size, compat, refcount_bits, size",
    "info": "`-f`, `--output`, `--backing-chain`, `-U`",
    "map": "`-f`, `--output`, `-s`, `-l`, `-U`, of qcow2 images; places are those of the file that a reader would get",
    "measure": "`-O`, `-l`, `--size`, `--output`",
    "rebase": "`-b`, `-F`, `-u`, `-f`, `-q`",
    "resize": "`+` and `-`, `--shrink`, `-f`, `-q`",
    "snapshot": "`-l`, `-c`, `-a`, `-d`, `-q`, `-U`",
}
"""What is modelled of each, for people; all of them take `--image-opts` with a plain file, too."""


def run(fs: FileSystem, argv: Sequence[str], *, cwd: str = "/", now_ns: int = 0) -> Done:
    """`qemu-img ARGV…` on these files. `NotModelled` for what is not modelled."""
    try:
        if not argv:
            raise usage("Not enough arguments")
        name, *rest = argv
        if name in {"--version", "-V"}:
            return Done(fs, 0, VERSION + _COPYRIGHT)
        subcommand = _SUBCOMMANDS.get(name)
        if subcommand is None:
            if name in NOT_MODELLED or name.startswith("-"):
                raise NotModelled(f"qemu-img {name}")
            raise usage(f"Command not found: {name}")
        after, out, err, code = subcommand(fs, rest, posixpath.normpath(cwd), now_ns)
        return Done(after, code, out, err)
    except Failed as error:
        return Done(error.fs or fs, error.status, error.stdout, error.stderr)
    except ToolError as error:
        return Done(error.fs or fs, 1, error.stdout, error.words + "\n")
