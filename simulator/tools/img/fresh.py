"""New images as `create` and `convert` make them of the options of their format, or what QEMU says is wrong there.

The checks stand in the order of QEMU 7.2.22, since it tells of the first one only.
"""

from collections.abc import Container, Mapping

from simulator.core.unmodelled import NotModelled
from simulator.disk.content import RESERVED, SECTOR
from simulator.disk.drivers import DRIVERS
from simulator.disk.image import EXTENDED_LEAST, Image, Qcow2, Raw, fresh_qcow2, too_large
from simulator.tools.img.arguments import Failed
from simulator.tools.img.options import FormatOptions, Value

COMPAT_NAMES = {"0.10": "0.10", "1.1": "1.1", "v2": "0.10", "v3": "1.1"}
PREALLOCATION = ("off", "metadata", "falloc", "full")
_CLUSTERS_MAX = 1 << 20


def made(options: FormatOptions, size_bytes: int) -> Raw | Qcow2:
    """A new image with these options, or what QEMU says that is wrong with them, in its order."""
    mode = options.text("preallocation") or "off" if "preallocation" in options.given else "off"
    if options.form == "raw":
        _require_choice("preallocation", options.text("preallocation"), PREALLOCATION, head="invalid parameter value: ")
        if mode == "metadata":
            raise Failed(f"Unsupported preallocation mode: {mode}")
        raw = Raw(-(-size_bytes // SECTOR) * SECTOR)
        return preallocated(raw, 0) if mode == "full" else raw
    _require_qcow2(options, mode)
    cluster = options.number("cluster_size")
    image = _fresh(options, size_bytes, cluster)
    return image if mode == "off" else preallocated(image, 0)


def _require_qcow2(options: FormatOptions, mode: str) -> None:
    given = options.given
    version, backing_format = options.text("compat"), options.text("backing_fmt")
    compression = options.text("compression_type") or "zlib"
    if version is not None:
        _require_choice("version", version, tuple(COMPAT_NAMES))
    if backing_format is not None:
        _require_choice("backing-fmt", backing_format, DRIVERS)
    # Whatever is not exactly on or off is taken for a format.
    _require_choice("format", options.words.get("encryption"), ("on", "off"))
    if given.get("encryption") or any(name.startswith("encrypt.") for name in given):
        raise NotModelled("an encrypted image")
    if "preallocation" in given:
        _require_choice("preallocation", str(given["preallocation"]), PREALLOCATION)
    if "compression_type" in given:
        _require_choice("compression-type", compression, ("zlib", "zstd"))
    old = COMPAT_NAMES.get(version or "") == "0.10"
    require_cluster(options, old=old)
    if mode != "off" and "backing_file" in given and not given.get("extended_l2"):
        raise Failed("Backing file and preallocation can only be used at the same time if extended_l2 is on")
    if backing_format is not None and "backing_file" not in given:
        raise Failed("Backing format cannot be used without backing file")
    if old and given.get("lazy_refcounts"):
        raise Failed(f"Lazy refcounts only supported {_NEEDS_V3}")
    require_counts(options.number("refcount_bits"), old=old)
    _require_data_file(given, old=old)
    if old and compression != "zlib":
        raise Failed(f"Non-zlib compression type is only supported {_NEEDS_V3}")


_NEEDS_V3 = "with compatibility level 1.1 and above (use version=v3 or greater)"


def _require_choice(name: str, value: str | None, among: Container[str], *, head: str = "") -> None:
    if value is not None and value not in among:
        raise Failed(f"{head}{value}" if head else f"Parameter '{name}' does not accept value '{value}'")


def require_cluster(options: FormatOptions, *, old: bool) -> None:
    """Raises `Failed` for a size of clusters that there is not; `old` is for version 2."""
    cluster = options.number("cluster_size")
    if not 512 <= cluster <= 2 << 20 or cluster & (cluster - 1):
        raise Failed("Cluster size must be a power of two between 512 and 2048k")
    if options.given.get("extended_l2"):
        if cluster < EXTENDED_LEAST:
            raise Failed(
                f"Extended L2 entries are only supported with cluster sizes of at least {EXTENDED_LEAST} bytes"
            )
        if old:
            raise Failed(f"Extended L2 entries are only supported {_NEEDS_V3}")


def require_counts(bits: int, *, old: bool) -> None:
    """Raises `Failed` for a width of refcounts that there is not; `old` is for version 2."""
    if bits not in {1, 2, 4, 8, 16, 32, 64}:
        raise Failed("Refcount width must be a power of two and may not exceed 64 bits")
    if old and bits != 16:
        raise Failed(
            "Different refcount widths than 16 bits require compatibility level 1.1 or above "
            "(use version=v3 or greater)"
        )


def _require_data_file(given: Mapping[str, Value], *, old: bool) -> None:
    if given.get("data_file_raw") and "data_file" not in given:
        raise Failed("data-file-raw requires data-file")
    if "data_file" in given and old:
        raise Failed(f"External data files are only supported {_NEEDS_V3}")
    if given.get("data_file"):
        raise NotModelled("an image with data_file")


def _require_size(size_bytes: int, cluster: int, *, extended_l2: bool) -> None:
    whole = -(-size_bytes // SECTOR) * SECTOR
    if whole >= 1 << 63:
        raise Failed("Could not resize image: Image size cannot be negative")
    if too_large(whole, cluster, extended_l2=extended_l2):
        raise Failed("The image size is too large for file format 'qcow2' (try using a larger cluster size)")


def _fresh(options: FormatOptions, size_bytes: int, cluster: int) -> Qcow2:
    extended_l2 = bool(options.get("extended_l2"))
    _require_size(size_bytes, cluster, extended_l2=extended_l2)
    return fresh_qcow2(
        size_bytes,
        cluster_bytes=cluster,
        compat=COMPAT_NAMES[options.text("compat") or "1.1"],
        refcount_bits=options.number("refcount_bits"),
        backing_name=options.text("backing_file") or "",
        backing_format=options.text("backing_fmt") or "",
        lazy=bool(options.get("lazy_refcounts")),
        compression=options.text("compression_type") or "zlib",
        extended_l2=extended_l2,
    )


def preallocated(image: Image, before_bytes: int) -> Image:
    """The image with room in its file for all of the disk from here on: clusters that were never written, yet data."""
    if isinstance(image, Qcow2) and image.extended_l2:
        raise NotModelled("an image with extended_l2 whose clusters are preallocated, none of whose parts are")
    return zeros_written(image, before_bytes)


def zeros_written(image: Image, before_bytes: int = 0) -> Image:
    """The image with zeros written, as they are, wherever nothing is from here on."""
    cluster_bytes = image.sectors * SECTOR
    first, last = before_bytes // cluster_bytes, -(-image.size_bytes // cluster_bytes)
    if last - first > _CLUSTERS_MAX:
        raise NotModelled("an image with more than a million preallocated clusters")
    return image.written({index: RESERVED for index in range(first, last) if index not in image.content})
