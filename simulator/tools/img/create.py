"""`qemu-img create`."""

import posixpath
from collections.abc import Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.chain import OpenError, chain
from simulator.disk.files import Stored
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Raw, fresh_qcow2
from simulator.tools.img.arguments import Call, Failed, number, read, require_list, size_of, usage
from xensnap.model import Format, Layer

_OTHER_FORMATS = {"qcow", "qed", "vdi", "vhdx", "vmdk", "vpc", "luks", "parallels"}
_DRIVERS = {
    "blkdebug", "blklogwrites", "blkreplay", "blkverify", "bochs", "cloop", "compress", "copy-before-write",
    "copy-on-read", "dmg", "file", "ftp", "ftps", "gluster", "host_cdrom", "host_device", "http", "https", "iscsi",
    "luks", "nbd", "nfs", "null-aio", "null-co", "nvme", "parallels", "preallocate", "qcow", "qcow2", "qed", "quorum",
    "raw", "rbd", "replication", "snapshot-access", "ssh", "throttle", "vdi", "vhdx", "vmdk", "vpc", "vvfat",
}  # fmt: skip
"""Its `BlockdevDriver`, as `query-qmp-schema` tells (QEMU 7.2.22)."""
_TRUE, _FALSE = {"on", "yes", "true", "y"}, {"off", "no", "false", "n"}


class Wanted(msgspec.Struct, frozen=True):
    """A qcow2 image as `-o` describes it."""

    size: int | None = None
    cluster: int = 65536
    compat: str | None = None
    refcount_bits: int = 16
    lazy: bool = False
    backing: str | None = None
    backing_format: str | None = None


def create(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """A new image. The line `Formatting …` comes before it is made (qemu.md 2)."""
    call = read(argv, "F:b:f:ho:qu", ("object=", "help"), cwd=cwd, checks={"o": require_list})
    if not call.words:
        raise usage("Expecting image file name")
    if len(call.words) > 2:
        raise usage(f"Unexpected argument: {call.words[2]}")
    name, form = call.words[0], call.get("f") or "raw"
    size = _size(call)
    if form not in {"qcow2", "raw"}:
        if form in _OTHER_FORMATS:
            raise NotModelled(f"qemu-img create -f {form}")
        raise Failed(f"{name}: Unknown file format '{form}'")
    wanted = _options(name, form, call)
    backing = call.get("b") if call.has("b") else wanted.backing
    backing_format = call.get("F") if call.has("F") else wanted.backing_format
    path = call.path(name)
    if backing is not None:
        size = _backed(fs, call, name, form, path, backing, backing_format, size if size is not None else wanted.size)
    elif size is None:
        size = wanted.size
    if size is None:
        raise Failed(f"{name}: Image creation needs a size parameter")
    line = "" if call.has("q") else _formatting(name, form, size, wanted, backing, backing_format)
    made = made_file(fs, name, path, b"", line)
    try:
        stored = _stored(name, form, size, wanted, backing, backing_format, line)
    except Failed as error:
        # What was there is gone with it (measured: 7.2.22).
        error.fs = made.link_away(path)
        raise
    return made_file(fs, name, path, stored, line), line, "", 0


def _size(call: Call) -> int | None:
    if len(call.words) < 2:
        return None
    return number(call.words[1], "image size")


def _options(name: str, form: str, call: Call) -> Wanted:
    found: dict[str, object] = {}
    for text in (value for option, value in call.given if option == "o"):
        for part in text.split(","):
            key, _, value = part.partition("=")
            found |= _option(name, form, key, value)
    return Wanted(**found)  # type: ignore[arg-type]


def _option(name: str, form: str, key: str, value: str) -> dict[str, object]:
    match key:
        case "size":
            return {"size": size_of(value)}
        case _ if form == "raw":
            raise Failed(f"{name}: Invalid parameter '{key}'")
        case "cluster_size":
            return {"cluster": size_of(value) or 0}
        case "compat":
            return {"compat": {"v2": "0.10", "v3": "1.1"}.get(value, value)}
        case "refcount_bits":
            return {"refcount_bits": int(value)}
        case "lazy_refcounts":
            if value not in _TRUE | _FALSE:
                raise Failed(f"{name}: Parameter 'lazy_refcounts' expects 'on' or 'off'")
            return {"lazy": value in _TRUE}
        case "backing_file":
            return {"backing": value}
        case "backing_fmt":
            return {"backing_format": value}
        case "preallocation" | "encryption" | "extended_l2" if value in _FALSE:
            return {}
        case "compression_type" if value == "zlib":
            return {}
        case "preallocation" | "encryption" | "extended_l2" | "compression_type" | "data_file" | "data_file_raw":
            raise NotModelled(f"qemu-img create -o {key}={value}")
    raise Failed(f"{name}: Invalid parameter '{key}'")


def _backed(
    fs: FileSystem,
    call: Call,
    name: str,
    form: str,
    path: str,
    backing: str,
    backing_format: str | None,
    size: int | None,
) -> int | None:
    """The size of an overlay, and whether its backing file can be opened (qemu.md 9 to 15)."""
    if form == "raw":
        raise Failed(f"{name}: Backing file not supported for file format 'raw'")
    if backing == name:
        raise Failed(f"{name}: Error: Trying to create an image with the same filename as the backing file")
    lower = posixpath.join(posixpath.dirname(path), backing)
    shown = backing if backing.startswith("/") else posixpath.join(posixpath.dirname(name), backing)
    if call.has("u") and size is None:
        raise Failed(f"{name}: Image creation needs a size parameter")
    if backing_format is not None and backing_format not in {"qcow2", "raw"}:
        if not call.has("u"):
            raise Failed(f"{name}: Unknown driver '{backing_format}'\nCould not open backing image.")
        raise Failed(f"{name}: Unknown backing file format '{backing_format}'")
    if call.has("u"):
        if backing_format is None:
            raise Failed(f"{name}: Backing file specified without backing format")
        return size
    from simulator.tools.img.opening import probed  # noqa: PLC0415 -- used here only

    try:
        links = chain(fs, Layer(lower, Format(backing_format or probed(fs, lower))))
    except OpenError as error:
        error.require_end()
        words = str(error).replace(f"'{lower}'", f"'{shown}'")
        raise Failed(f"{name}: {words}\nCould not open backing image.") from None
    if backing_format is None:
        failed = Failed(f"{name}: Backing file specified without backing format")
        failed.stderr += f"Detected format of {probed(fs, lower)}."
        raise failed
    return size if size is not None else links[0].image.size_bytes


def _formatting(
    name: str, form: str, size: int, wanted: Wanted, backing: str | None, backing_format: str | None
) -> str:
    if form == "raw":
        return f"Formatting '{name}', fmt=raw size={size}\n"
    parts = [f"Formatting '{name}', fmt=qcow2 cluster_size={wanted.cluster} extended_l2=off compression_type=zlib"]
    parts.append(f"size={size}")
    if backing is not None:
        parts.append(f"backing_file={backing}")
    if backing_format is not None:
        parts.append(f"backing_fmt={backing_format}")
    if wanted.compat is not None:
        parts.append(f"compat={wanted.compat}")
    lazy = "on" if wanted.lazy else "off"
    parts.append(f"lazy_refcounts={lazy} refcount_bits={wanted.refcount_bits}")
    return " ".join(parts) + "\n"


def _stored(
    name: str, form: str, size: int, wanted: Wanted, backing: str | None, backing_format: str | None, line: str
) -> Stored:
    if form == "raw":
        return Raw(-(-size // 512) * 512)
    if backing_format is not None and backing is None:
        if backing_format not in _DRIVERS:
            raise Failed(f"{name}: Parameter 'backing-fmt' does not accept value '{backing_format}'", stdout=line)
        raise Failed(f"{name}: Backing format cannot be used without backing file", stdout=line)
    if backing is not None and len(backing.encode("utf-8", "surrogateescape")) > 1023:
        words = f"{name}: Could not assign backing file '{backing}' with format '{backing_format}': Invalid argument"
        raise Failed(words, stdout=line)
    try:
        return fresh_qcow2(
            size,
            cluster_bytes=wanted.cluster,
            compat=wanted.compat or "1.1",
            refcount_bits=wanted.refcount_bits,
            backing_name=backing or "",
            backing_format=backing_format or "",
            lazy=wanted.lazy,
        )
    except ValueError as error:
        raise Failed(f"{name}: {error}", stdout=line) from None


def made_file(fs: FileSystem, name: str, path: str, stored: Stored, line: str) -> FileSystem:
    """The file, in the place of whatever was there: an existing image is gone without a word (qemu.md 16)."""
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
