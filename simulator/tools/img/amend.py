"""`qemu-img amend`: another version, refcount width, size, or lazy refcounts for an image that is there."""

from collections.abc import Sequence

import msgspec
from immutables import Map

from simulator.core.unmodelled import NotModelled
from simulator.disk import operations as op
from simulator.disk import refcounts
from simulator.disk.content import Content
from simulator.disk.drivers import DRIVERS
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import COMPAT, Image, Qcow2
from simulator.tools.img import progress
from simulator.tools.img.arguments import Call, Failed, read, require_list, usage
from simulator.tools.img.opening import Opened, format_given, is_raw, opened
from simulator.tools.img.options import valued

replace = msgspec.structs.replace

_ONLY_CREATE = ("cluster_size", "preallocation", "encryption", "encrypt.format", "extended_l2", "compression_type")
_REFCOUNT_WORDS = "Refcount width must be a power of two and may not exceed 64 bits"
_VERSION_3 = "compatibility level 1.1"


class Wanted(msgspec.Struct, frozen=True):
    """What `-o` asks for; None is left as it is."""

    compat: str | None = None
    size: int | None = None
    backing: str | None = None
    backing_format: str | None = None
    lazy: bool | None = None
    refcount_bits: int | None = None


def amend(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """One change after the other; what was done before one that is refused stays done."""
    long = ("image-opts", "object=", "force", "help")
    call = read(argv, "f:ho:pqt:", long, cwd=cwd, checks={"o": require_list})
    texts = [value for name, value in call.given if name == "o"]
    if not texts:
        raise usage("Must specify options (-o)")
    if any(part in {"help", "?"} for text in texts for part in text.split(",")):
        return fs, _help(fs, call), "", 0
    try:
        image = _opened(fs, call)
    except Failed as error:
        error.stdout = progress.closed(call)
        raise
    return _amended(fs, call, image, ",".join(texts))


_HELP = """Amend options for 'qcow2':
  backing_file=<str>     - File name of a base image
  backing_fmt=<str>      - Image format of the base image
  compat=<str>           - Compatibility level (v2 [0.10] or v3 [1.1])
  data_file=<str>        - File name of an external data file
  data_file_raw=<bool (on/off)> - The external data file must stay valid as a raw image
  encrypt.iter-time=<num> - Time to spend in PBKDF in milliseconds
  encrypt.keyslot=<num>  - Select a single keyslot to modify explicitly
  encrypt.new-secret=<str> - New secret to set in the matching keyslots. Empty string to erase
  encrypt.old-secret=<str> - Select all keyslots that match this password
  encrypt.state=<str>    - Select new state of affected keyslots (active/inactive)
  lazy_refcounts=<bool (on/off)> - Postpone refcount updates
  refcount_bits=<num>    - Width of a reference count entry in bits
  size=<size>            - Virtual disk size
"""


def _help(fs: FileSystem, call: Call) -> str:
    """The options that there are, for the format that is given or that the image has."""
    form = format_given(call)
    if form is None:
        image = _opened(fs, call)
        form = image.top.format
    elif form not in DRIVERS:
        raise Failed(f"Unknown file format '{form}'")
    if form == "qcow2":
        return _HELP
    if form == "raw":
        raise Failed(f"Format driver '{form}' does not support option amendment")
    raise NotModelled(f"qemu-img amend -o help of images in {form} format")


def _opened(fs: FileSystem, call: Call) -> Opened:
    if len(call.words) != 1:
        raise Failed("Expecting one image file name")
    call.require_cache()
    return opened(fs, call, call.words[0], form=format_given(call), writing=True)


def _amended(fs: FileSystem, call: Call, image: Opened, text: str) -> tuple[FileSystem, str, str, int]:
    def stopped(words: object, stdout: str) -> tuple[FileSystem, str, str, int]:
        return fs, stdout, f"{image.warning}qemu-img: {words}\n", 1

    if is_raw(image):
        return stopped("Format driver 'raw' does not support option amendment", progress.closed(call))
    try:
        wanted = _wanted(text)
    except op.QemuError as error:
        return stopped(error, progress.closed(call))
    top, lower = image.images[0], image.images[1:]
    assert isinstance(top, Qcow2)
    refusal = None
    try:
        for change in (_checked, _upgraded, _recounted, _backed, _lazy, _resized, _downgraded):
            top = change(top, lower, wanted)
    except op.QemuError as error:
        refusal = error
    if top != image.images[0]:
        fs = fs.store(image.top.number, top, image.top.path).sync(image.top.path)
    if refusal is not None:
        return stopped(refusal, progress.shown(call))
    return fs, progress.shown(call), image.warning, 0


# --- what is asked for -----------------------------------------------------------------------------------------------


def _wanted(text: str) -> Wanted:
    found: dict[str, object] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        try:
            found |= _option(key, value if equals else "on")
        except Failed as error:
            raise op.QemuError(str(error)) from None
    return Wanted(**found)  # type: ignore[arg-type]


def _option(key: str, value: str) -> dict[str, object]:
    match key:
        case "compat":
            return {"compat": value}
        case "backing_file":
            return {"backing": value}
        case "backing_fmt":
            return {"backing_format": value}
        case "size":
            return {"size": valued(key, "size", value)}
        case "refcount_bits":
            return {"refcount_bits": valued(key, int, value)}
        case "lazy_refcounts":
            return {"lazy": valued(key, bool, value)}
        case "data_file":
            raise op.QemuError("data-file can only be set for images that use an external data file")
        case "data_file_raw":
            raise op.QemuError("data-file-raw cannot be set on existing images")
        case _ if key.startswith("encrypt.") and key not in _ONLY_CREATE:
            raise NotModelled(f"qemu-img amend -o {key}")
        case _ if key in _ONLY_CREATE:
            raise op.QemuError(f"Invalid parameter '{key}'\nThis option is only supported for image creation")
    raise op.QemuError(f"Invalid parameter '{key}'")


def _version(wanted: Wanted, image: Qcow2) -> int:
    if not wanted.compat:
        return image.version
    return {"v2": 2, "v3": 3, **COMPAT}[wanted.compat]


# --- the changes, in QEMU's order ------------------------------------------------------------------------------------


def _checked(image: Qcow2, _lower: tuple[Image, ...], wanted: Wanted) -> Qcow2:
    if wanted.compat and wanted.compat not in {"v2", "v3", *COMPAT}:
        raise op.QemuError(f"Unknown compatibility level {wanted.compat}")
    bits = wanted.refcount_bits
    if bits is not None and bits not in {1, 2, 4, 8, 16, 32, 64}:
        raise op.QemuError(_REFCOUNT_WORDS)
    return image


def _upgraded(image: Qcow2, _lower: tuple[Image, ...], wanted: Wanted) -> Qcow2:
    return replace(image, version=max(image.version, _version(wanted, image)))


def _recounted(image: Qcow2, _lower: tuple[Image, ...], wanted: Wanted) -> Qcow2:
    bits = image.refcount_bits if wanted.refcount_bits is None else wanted.refcount_bits
    if bits == image.refcount_bits:
        return image
    if bits != 16 and _version(wanted, image) < 3:
        raise op.QemuError(
            f"Refcount widths other than 16 bits require {_VERSION_3} or above (use compat=1.1 or greater)"
        )
    highest = refcounts.most(image)
    if highest >= 1 << bits:
        # Which cluster it is follows from places in the file, which are not modelled.
        raise op.QemuError(
            f"Cannot decrease refcount entry width to {bits} bits: Cluster at offset 0x0 has a refcount of {highest}"
        )
    return replace(image, refcount_bits=bits)


def _backed(image: Qcow2, _lower: tuple[Image, ...], wanted: Wanted) -> Qcow2:
    asked = wanted.backing, wanted.backing_format
    if asked not in {(None, None), (image.backing_name or None, image.backing_format or None)}:
        raise op.QemuError("Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.")
    return image


def _lazy(image: Qcow2, _lower: tuple[Image, ...], wanted: Wanted) -> Qcow2:
    lazy = image.lazy if wanted.lazy is None else wanted.lazy
    if lazy and not image.lazy and _version(wanted, image) < 3:
        raise op.QemuError(f"Lazy refcounts only supported with {_VERSION_3} and above (use compat=1.1 or greater)")
    return replace(image, lazy=lazy)


def _resized(image: Qcow2, lower: tuple[Image, ...], wanted: Wanted) -> Qcow2:
    if not wanted.size:
        return image
    resized = op.resized((image, *lower), wanted.size)
    assert isinstance(resized, Qcow2)
    return resized


def _downgraded(image: Qcow2, lower: tuple[Image, ...], wanted: Wanted) -> Qcow2:
    if _version(wanted, image) == image.version:
        return image
    if image.compression != "zlib" and not image.extended_l2:
        raise NotModelled(f"qemu-img amend -o compat=0.10 of an image with {image.compression}")
    if image.refcount_bits != 16:
        raise op.QemuError("compat=0.10 requires refcount_bits=16")
    if any(entry.size_bytes != image.size_bytes for entry in image.table):
        raise op.QemuError("Internal snapshots prevent downgrade of image")
    if image.extended_l2:
        raise op.QemuError("Cannot downgrade an image with incompatible features 0x10 set")
    if image.bitmaps:
        raise NotModelled("qemu-img amend -o compat=0.10 of an image with dirty bitmaps, which loses them")
    if lower:
        return replace(image, version=2, lazy=False)
    # Version 2 has no marked zeros; where nothing stands below, QEMU 7.2.22 gives them up instead of writing zeros.
    entries = image.table.mapped(_without_zeros)
    return replace(image, version=2, lazy=False, content=_without_zeros(image.content), table=entries)


def _without_zeros(content: Content) -> Content:
    return Map((index, value) for index, value in content.items() if value != 0)
