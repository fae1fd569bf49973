"""What qemu-img prints for people: sizes, dates, tables of snapshots, and an image in lines."""

import time
from fractions import Fraction

from simulator.disk.snapshots import Entry, Table
from simulator.disk.told import Told

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: int) -> str:
    """A number of bytes with three digits, as QEMU writes it."""
    at = 0
    while at + 1 < len(_UNITS) and count >= 1000 * (1 << (10 * at)):
        at += 1
    return f"{_three(Fraction(count, 1 << (10 * at)))} {_UNITS[at]}"


def _three(value: Fraction) -> str:
    return f"{float(value):0.3g}"


def snapshots(table: Table) -> str:
    """The heading and a line for each."""
    lines = [f"{'ID':<10}{'TAG':<17}{'VM SIZE':>8}{'DATE':>20}{'VM CLOCK':>13}{'ICOUNT':>11}"]
    return "\n".join([*lines, *map(_line, table)]) + "\n"


def _line(entry: Entry) -> str:
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.date_ns // 10**9))
    seconds, rest = divmod(entry.clock_ns // 10**6, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
    icount = "" if entry.live else "0"
    # Columns are counted in bytes.
    tag = entry.told.tag + " " * (16 - len(entry.tag))
    return f"{entry.number!s:<9} {tag} {size(0):>8}{date:>20}{clock:>13}{icount:>11}"


def image(told: Told) -> str:
    """`qemu-img info` of one image."""
    lines = [
        f"image: {told['filename']}",
        f"file format: {told['format']}",
        f"virtual size: {size(told['virtual-size'])} ({told['virtual-size']} bytes)",
        f"disk size: {size(told['actual-size'])}",
    ]
    if "cluster-size" in told:
        lines.append(f"cluster_size: {told['cluster-size']}")
    if "backing-filename" in told:
        name, full = told["backing-filename"], told["full-backing-filename"]
        lines.append(f"backing file: {name}" + (f" (actual path: {full})" if full != name else ""))
        if "backing-filename-format" in told:
            lines.append(f"backing file format: {told['backing-filename-format']}")
    return "\n".join(lines) + "\n"


def specific(told: Told) -> str:
    """The part of the format, which comes last."""
    if "format-specific" not in told:
        return ""
    data = told["format-specific"]["data"]
    named = {
        "compat": "compat",
        "compression-type": "compression type",
        "lazy-refcounts": "lazy refcounts",
        "refcount-bits": "refcount bits",
        "corrupt": "corrupt",
        "extended-l2": "extended l2",
    }
    lines = [f"    {name}: {_word(data[key])}" for key, name in named.items() if key in data]
    return "Format specific information:\n" + "\n".join(lines) + "\n"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
