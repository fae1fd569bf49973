"""`qemu-img create`."""

import posixpath
from collections.abc import Sequence

from simulator.core.unmodelled import NotModelled
from simulator.disk.chain import OpenError, below_named, chain, shown_below
from simulator.disk.drivers import DRIVERS
from simulator.disk.files import Stored
from simulator.disk.filesystem import FileSystem
from simulator.tools.img.arguments import Call, Failed, number, protocol_of, read, require_list, usage
from simulator.tools.img.fresh import made
from simulator.tools.img.opening import probed
from simulator.tools.img.options import KINDS, FormatOptions, asks_for_help, lists, parsed, shown
from xensnap.model import Format, Layer


def create(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """A new image. The line `Formatting …` comes before it is made (qemu.md 2)."""
    call = read(argv, "F:b:f:ho:qu", ("object=", "help"), cwd=cwd, checks={"o": require_list})
    form = "raw" if (given := call.get("f")) is None else given
    parts = lists(value for option, value in call.given if option == "o")
    if asks_for_help(parts):
        return fs, shown(known(form), named=bool(call.words)), "", 0
    if not call.words:
        raise usage("Expecting image file name")
    if len(call.words) > 2:
        raise usage(f"Unexpected argument: {call.words[2]}")
    name = call.words[0]
    if protocol_of(name, f"{name}: ") == "json":
        raise Failed(f"{name}: Unknown protocol 'json'")
    path = call.path(name)
    size = _size(call)
    options = _options(fs, call, name, path, parsed(known(form, f"{name}: "), parts, prefix=f"{name}: "), size)
    line = "" if call.has("q") else f"Formatting '{name}', fmt={form} {options.told()}\n"
    created = made_file(fs, name, path, b"", line)
    try:
        stored = made(options, options.number("size"))
    except Failed as failed:
        # What was there is gone with it, but for a raw one (measured: 7.2.22).
        left = created if form == "raw" else created.link_away(path)
        raise named(failed, name, fs=left, stdout=line) from None
    return made_file(fs, name, path, stored, line), line, "", 0


def known(form: str, prefix: str = "") -> str:
    """A format whose images are modelled; QEMU has others, and of the rest it says that it has none."""
    if form not in KINDS:
        if form in DRIVERS:
            raise NotModelled(f"images in {form} format")
        raise Failed(f"{prefix}Unknown file format '{form}'")
    return form


def named(failed: Failed, name: str, *, fs: FileSystem | None = None, stdout: str = "") -> Failed:
    """A failure, with the name of the image before its words."""
    return Failed(f"{name}: {failed.stderr.removeprefix('qemu-img: ').removesuffix(chr(10))}", fs=fs, stdout=stdout)


def _size(call: Call) -> int | None:
    if len(call.words) < 2:
        return None
    return number(call.words[1], "image size")


def _options(
    fs: FileSystem, call: Call, name: str, path: str, options: FormatOptions, size: int | None
) -> FormatOptions:
    """With what stands outside of `-o`, and the size, which may be that of the backing file."""
    if size is not None and "size" in options.given:
        raise Failed(f"{name}: The image size must be specified only once")
    if options.form == "raw" and call.has("b"):
        raise Failed(f"{name}: Backing file not supported for file format 'raw'")
    if options.form == "raw" and call.has("F"):
        raise Failed(f"{name}: Backing file format not supported for file format 'raw'")
    options = options.with_(size=size, backing_file=call.get("b"), backing_fmt=call.get("F"))
    backing, backing_format = options.text("backing_file"), options.text("backing_fmt")
    if backing is not None:
        base = _base(fs, call, name, path, backing, backing_format, sized="size" in options.given)
        options = options.with_(size=options.given.get("size", base))
    if "size" not in options.given:
        raise Failed(f"{name}: Image creation needs a size parameter")
    return options


def _base(
    fs: FileSystem, call: Call, name: str, path: str, backing: str, backing_format: str | None, *, sized: bool
) -> int | None:
    """The size of the backing file, and whether it can be opened (qemu.md 9 to 15)."""
    if not backing:
        raise Failed(f"{name}: Expected backing file name, got empty string")
    if backing == name:
        raise Failed(f"{name}: Error: Trying to create an image with the same filename as the backing file")
    if call.has("u"):
        if not sized:
            raise Failed(f"{name}: Image creation needs a size parameter")
        if backing_format is None:
            raise Failed(f"{name}: Backing file specified without backing format")
        return None
    if backing_format is not None and backing_format not in DRIVERS:
        raise Failed(f"{name}: Unknown driver '{backing_format}'\nCould not open backing image.")
    try:
        protocol_of(backing)
    except Failed as unknown:
        failed = named(unknown, name)
        failed.stderr += "Could not open backing image.\n"
        raise failed from None
    lower = below_named(path, backing)
    told = shown_below(name, lower, backing)
    try:
        links = chain(fs, Layer(lower, Format(backing_format or probed(fs, lower))))
    except OpenError as error:
        error.require_end()
        words = str(error).replace(f"'{lower}'", f"'{told}'")
        raise Failed(f"{name}: {words}\nCould not open backing image.") from None
    if backing_format is None:
        failed = Failed(f"{name}: Backing file specified without backing format")
        failed.stderr += f"Detected format of {probed(fs, lower)}."
        raise failed
    return links[0].image.size_bytes


def made_file(fs: FileSystem, name: str, path: str, stored: Stored, line: str) -> FileSystem:
    """The file, in the place of whatever was there: an existing image is gone without a word (qemu.md 16)."""
    if not path:
        raise Failed(f"{name}: Could not create '{name}': No such file or directory", stdout=line)
    number = fs.find(path)
    if posixpath.dirname(path) not in fs.dirs:
        raise Failed(f"{name}: Could not create '{name}': No such file or directory", stdout=line)
    if path in fs.dirs:
        raise Failed(f"{name}: Could not create '{name}': Is a directory", stdout=line)
    try:
        if number is None:
            return fs.create(path, stored, mode=0o644).sync(path)
        if any(entry.locked for entry in fs.opens.get(number, ())):
            words = f'{name}: Failed to get "write" lock\nIs another process using the image [{path}]?'
            raise Failed(words, stdout=line)
        return fs.store(number, stored, path).sync(path)
    except OSError as error:
        raise Failed(f"{name}: Could not create '{name}': {error.strerror}", stdout=line) from None
