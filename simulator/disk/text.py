"""What qemu-img and the human monitor print for people: sizes, dates, tables of snapshots, and an image in lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from simulator.disk.qjson import ordered
from simulator.disk.snapshots import Entry
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


def entries(told: Iterable[Entry], number: str = "") -> str:
    """The heading and a line for each snapshot.

    Args:
        number: stands in the place of every id.
    """
    lines = [f"{'ID':<10}{'TAG':<17}{'VM SIZE':>8}{'DATE':>20}{'VM CLOCK':>13}{'ICOUNT':>11}"]
    return "\n".join([*lines, *(_line(entry, number or str(entry.number)) for entry in told)]) + "\n"


def _line(entry: Entry, number: str) -> str:
    date = date_of(entry.date_ns // 10**9)
    seconds, rest = divmod(entry.clock_ns // 10**6, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
    icount = "" if entry.live else "0"
    # Columns are counted in bytes.
    tag = entry.told.tag + " " * (16 - len(entry.tag))
    return f"{number:<9} {tag} {size(entry.state_bytes):>8}{date:>20}{clock:>13}{icount:>11}"


def date_of(seconds: int) -> str:
    """A date and time of day, UTC, in the years that 32 bits of seconds reach."""
    days, second = divmod(seconds, 86400)
    # Years that begin in March have their leap day last.
    days += 719468
    era, day = divmod(days, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    of_month = day - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += 400 * era + (month <= 2)
    return f"{year:04}-{month:02}-{of_month:02} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


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
    return "Format specific information:\n" + "\n".join(_lines(told["format-specific"]["data"], 1)) + "\n"


def _lines(value: Mapping[str, object] | Sequence[object], depth: int) -> Iterator[str]:
    """The members of an object, in QEMU's order, or the numbered entries of a list; what is inside of them deeper."""
    members = (
        [(key.replace("-", " "), value[key]) for key in ordered(value)]
        if isinstance(value, Mapping)
        else [(f"[{place}]", each) for place, each in enumerate(value)]
    )
    for name, member in members:
        if isinstance(member, Mapping | list):
            yield f"{'    ' * depth}{name}:"
            yield from _lines(member, depth + 1)
        else:
            yield f"{'    ' * depth}{name}: {str(member).lower() if isinstance(member, bool) else member}"
