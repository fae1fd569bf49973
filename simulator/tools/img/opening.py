"""How qemu-img opens an image: format given or probed, chain or not, locks or not; and its words when it cannot."""

import json
import re
from typing import Any

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import chain as chains
from simulator.disk.chain import Link, OpenError
from simulator.disk.drivers import DRIVERS
from simulator.disk.files import Inode
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Image, Qcow2, Raw
from simulator.tools.img.arguments import Call, Failed, protocol_of
from xensnap.model import Format, Layer

_FORMATS = {"qcow2", "raw"}


class Opened(msgspec.Struct, frozen=True):
    """An image and what stands below it.

    Attributes:
        shown: the name as it was given, or the options in its place.
        name: the file's name as it was given.
        warning: what is printed where a raw image was guessed and is open for writing.
    """

    links: tuple[Link, ...]
    shown: str
    name: str
    warning: str = ""

    @property
    def top(self) -> Link:
        """The image that was asked for."""
        return self.links[0]

    @property
    def layer(self) -> Layer:
        """Its path and format."""
        return Layer(self.top.path, Format(self.top.format))

    @property
    def images(self) -> tuple[Image, ...]:
        """What is read through."""
        return tuple(link.image for link in self.links)


def format_given(call: Call, option: str = "f") -> str | None:
    """The format that was given, or None."""
    return call.get(option, "format")


def opened(
    fs: FileSystem,
    call: Call,
    name: str,
    *,
    form: str | None,
    writing: bool,
    backing: bool = True,
    content: bool = True,
    sharing: bool = True,
    beside: Opened | None = None,
    words: str = "Could not open '{name}': ",
    status: int = 1,
) -> Opened:
    """One image. The words come before the reason, which names the file again where it is missing.

    Args:
        content: whether the disk is looked at, and not only what the header tells.
        sharing: whether `-U` is about this image.
        beside: another that is open for writing already. One that is read as raw is not in its way.
    """
    shown = name
    head = words.format(name=shown)
    if call.has("image-opts") and form is not None:
        raise Failed("--image-opts and --format are mutually exclusive", status=status)
    if not name:
        raise Failed(f"{head}The 'file' block driver requires a file name", status=status)
    try:
        told = _named(call, name, form)
    except OpenError as error:
        raise Failed(f"{head}{error}", status=status) from None
    name, form = told.file, told.form
    protocol_of(name, head)
    path = call.path(name)
    shared = told.shared or (sharing and call.has("U", "force-share"))
    if shared and writing:
        raise Failed(f"{head}force-share=on can only be used with read-only images", status=status)
    guessed = form is None
    opening: tuple[int, ...] = ()
    try:
        form = probed(fs, path) if form is None else _known(form)
        if writing and path in fs.dirs:
            raise OpenError(f"Could not open '{path}': Is a directory", path=path)  # noqa: TRY301 -- as from below
        layer = Layer(path, Format(form))
        # The lock of an image with a header is asked for before that is read; what is read as raw has none.
        if form == "qcow2" and (number := fs.find(path)) is not None and not shared:
            _require_lock(fs, number, path, writing=writing, reading=content)
            if beside and number == beside.top.number:
                raise _locked('shared "write"', path)
        top = chains.opened(fs, layer)
        if form == "raw" and not shared:
            _require_lock(fs, top.number, path, writing=writing, reading=content)
        opening = (top.number,) if writing else ()
        links = (top, *_below(fs, top, shared=shared)) if backing else (top,)
    except OpenError as error:
        error.require_end(*opening)
        reason = without_cache(str(error)) if call.past_cache(writing=writing) else str(error)
        words = as_given(f"{head}{reason}", path, name)
        raise Failed(_below_as_given(fs, words, error.path, path, name), status=status) from None
    inode = fs.inodes[top.number]
    if writing and isinstance(inode, Inode) and inode.immutable:
        raise Failed(f"{head}Could not open '{name}': Operation not permitted", status=status)
    return Opened(links, shown, name, _WARNING.format(name=shown) if guessed and form == "raw" and writing else "")


_WARNING = (
    "WARNING: Image format was not specified for '{name}' and probing guessed raw.\n"
    "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be "
    "restricted.\n"
    "         Specify the 'raw' format explicitly to remove the restrictions.\n"
)


def without_cache(words: str) -> str:
    """What is said where the host's page cache is passed by: a directory is not even opened then."""
    return _IRREGULAR.sub(r"Could not open \1: filesystem does not support O_DIRECT", words)


_IRREGULAR = re.compile(r"'file' driver requires ('[^']*') to be a regular file")


def as_given(words: str, path: str, name: str) -> str:
    """Words with a file called as the command line called it."""
    return words.replace(f"'{path}'", f"'{name}'").replace(f"[{path}]", f"[{name}]")


def _below_as_given(fs: FileSystem, words: str, lower: str, path: str, name: str) -> str:
    """A relative backing name begins where the image's own name does, so it is told relative, too."""
    top = getattr(fs.inodes.get(fs.find(path) or 0), "stored", None)
    stored = top.backing_name if isinstance(top, Qcow2) else ""
    if name.startswith("/") or stored.startswith("/") or not path.endswith(name):
        return words
    return as_given(words, lower, lower.removeprefix(path.removesuffix(name)))


def _known(form: str) -> str:
    if form in _FORMATS:
        return form
    if form in DRIVERS:
        raise NotModelled(f"qemu-img: images in {form} format")
    raise OpenError(f"Unknown driver '{form}'", path="")


def probed(fs: FileSystem, path: str) -> str:
    """What a file seems to be."""
    number = fs.find(path)
    stored = getattr(fs.inodes.get(number or 0), "stored", None)
    return "qcow2" if isinstance(stored, Qcow2) or (isinstance(stored, bytes) and stored[:4] == b"QFI\xfb") else "raw"


def _below(fs: FileSystem, top: Link, *, shared: bool) -> tuple[Link, ...]:
    lower = chains.below(fs, top)
    if lower is None:
        return ()
    try:
        links = chains.chain(fs, lower)
        if not shared:
            for link in links:
                _require_lock(fs, link.number, link.path, writing=False)
    except OpenError as error:
        if top.number in error.loop:
            raise chains.loop_through(top, error) from None
        raise OpenError(f"Could not open backing file: {error}", path=error.path, loop=error.loop) from None
    return links


def _require_lock(fs: FileSystem, number: int, path: str, *, writing: bool, reading: bool = True) -> None:
    locks = [entry for entry in fs.opens.get(number, ()) if entry.locked]
    lock = ""
    if reading and any(entry.unread for entry in locks):
        lock = '"consistent read"'
    elif writing and locks:
        lock = '"write"'
    elif any(entry.writing for entry in locks):
        lock = 'shared "write"'
    if lock:
        raise _locked(lock, path)


def _locked(lock: str, path: str) -> OpenError:
    return OpenError(f"Failed to get {lock} lock\nIs another process using the image [{path}]?", path=path)


class _Named(msgspec.Struct, frozen=True):
    """What a name, or options in its place, lead to."""

    file: str
    form: str | None = None
    shared: bool = False


_NO_MATTER = frozenset({
    "cache.direct", "cache.no-flush", "detect-zeroes", "discard", "file.driver", "file.node-name", "node-name",
    "read-only",
})  # fmt: skip
"""Options that change nothing of what is modelled."""


def _named(call: Call, name: str, form: str | None) -> _Named:
    """Raises `OpenError` for options that QEMU refuses."""
    if call.has("image-opts"):
        parts = [part.replace("\0", ",").partition("=") for part in name.replace(",,", "\0").split(",")]
        return _of_options({key: value for key, _, value in parts}, name)
    if name.startswith("json:"):
        return _of_options(_flat(_of_json(name)), name)
    return _Named(name.removeprefix("file:"), form)


def _of_json(name: str) -> dict[str, Any]:
    try:
        told = json.loads(name.removeprefix("json:"))
    except ValueError:
        raise NotModelled(f"qemu-img: the file name {name!r}, which is no JSON") from None
    if not isinstance(told, dict):
        raise OpenError("Invalid JSON object given", path="")
    return told


def _flat(told: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in told.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return found


def _of_options(options: dict[str, str], told: str) -> _Named:
    """`driver=…,file.driver=file,file.filename=…`: commas in values are doubled on a command line."""
    form, name = options.get("driver"), options.get("file.filename")
    if options.get("file.driver", "file") != "file" or form == "file" or "file" in options:
        raise NotModelled(f"qemu-img: {told}")
    if form is None and not any(key.startswith("file.") for key in options):
        if "filename" in options:
            raise OpenError("Must specify either driver or file", path="")
        if list(options) == [told]:
            # One word alone is the name of a node.
            raise OpenError(f"Cannot find device='{told}' nor node-name='{told}'", path="")
        raise NotModelled(f"qemu-img: {told}")
    if form is not None:
        _known(form)
    if name is None:
        raise OpenError('A block device must be specified for "file"', path="")
    for key in options:
        if key in {"driver", "file.filename", "force-share"} or key in _NO_MATTER:
            continue
        if "." in key or form is None or key in _OF_FORMAT:
            raise NotModelled(f"qemu-img: {told}")
        raise OpenError(f"Block format '{form}' does not support the option '{key}'", path="")
    return _Named(name, form, shared=options.get("force-share") in {"on", "yes", "true", "y"})


_OF_FORMAT = frozenset({
    "auto-read-only", "backing", "cache-clean-interval", "cache-size", "data-file", "encrypt", "l2-cache-entry-size",
    "l2-cache-size", "lazy-refcounts", "offset", "overlap-check", "pass-discard-other",
    "pass-discard-request", "pass-discard-snapshot", "refcount-cache-size", "size",
})  # fmt: skip
"""Options that there are, and that would change what is modelled."""


def qcow2(opened_image: Opened) -> Qcow2 | None:
    """The image where it is qcow2."""
    image = opened_image.top.image
    return image if isinstance(image, Qcow2) else None


def is_raw(opened_image: Opened) -> bool:
    """Whether it has no header."""
    return isinstance(opened_image.top.image, Raw)
