"""What only looks: `qemu-img info` and `check`."""

from collections.abc import Sequence

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk import text
from simulator.disk.chain import Link, OpenError, below, shown_below
from simulator.disk.chain import opened as link_of
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import COMPRESSED, Qcow2
from simulator.disk.qjson import pretty
from simulator.disk.refcounts import errors, leaks, repaired
from simulator.disk.told import Told, full_backing_name, image_info
from simulator.tools.img.arguments import Call, Failed, read, usage
from simulator.tools.img.opening import format_given, opened, qcow2

_LONG = ("output=", "image-opts", "force-share", "format=", "object=", "help")


def output_of(call: Call) -> str:
    """`human` or `json`."""
    output = call.get("output") or "human"
    if output not in {"human", "json"}:
        raise Failed("--output must be used with human or json as argument.")
    return output


def info(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """One image, or with `--backing-chain` all that it stands on."""
    call = read(argv, "hf:U", (*_LONG, "backing-chain"), cwd=cwd)
    name, output = call.one(), output_of(call)
    top = opened(fs, call, name, form=format_given(call), writing=False, backing=False, content=False)
    links = [top.top]
    names = [top.name]
    if call.has("backing-chain"):
        _follow(fs, links, names)
    told = [_info(link, shown) for link, shown in zip(links, names, strict=True)]
    if output == "json":
        return fs, pretty(told if call.has("backing-chain") else told[0]) + "\n", "", 0
    return fs, "\n".join(map(_human, told, links)), "", 0


def _info(link: Link, shown: str) -> Told:
    told = image_info(link, filename=shown)
    if "full-backing-filename" in told and not shown.startswith("/"):
        told["full-backing-filename"] = full_backing_name(shown, told["backing-filename"])
    return told


def _follow(fs: FileSystem, links: list[Link], names: list[str]) -> None:
    while (lower := below(fs, links[-1])) is not None:
        image = links[-1].image
        assert isinstance(image, Qcow2)
        shown = shown_below(names[-1], lower.path, image.backing_name)
        if shown in names:
            raise Failed(f"Backing file '{shown}' creates an infinite loop.")
        try:
            links.append(link_of(fs, lower))
        except OpenError as error:
            words = str(error).replace(f"'{lower.path}'", f"'{shown}'")
            raise Failed(f"Could not open '{shown}': {words}") from None
        names.append(shown)


def _human(told: Told, link: Link) -> str:
    image = link.image
    table = f"Snapshot list:\n{text.entries(image.table)}" if isinstance(image, Qcow2) and len(image.table) else ""
    return text.image(told) + table + text.specific(told)


# --- check -----------------------------------------------------------------------------------------------------------


def check(fs: FileSystem, argv: Sequence[str], cwd: str, _now_ns: int) -> tuple[FileSystem, str, str, int]:
    """Leaks and corruption counted; with `-r` leaks given back."""
    repairs = {"r": _require_repair, "repair": _require_repair}
    call = read(argv, "hf:r:T:qU", (*_LONG, "repair="), cwd=cwd, checks=repairs)
    name, output = call.one(), output_of(call)
    call.require_cache()
    repair = call.get("r", "repair")
    image = opened(fs, call, name, form=format_given(call), writing=repair is not None)
    top = qcow2(image)
    if top is None:
        refused = Failed("This image format does not support checks", status=63)
        refused.stderr = image.warning + refused.stderr
        raise refused
    if top.inflated:
        raise NotModelled(f"qemu-img check of {COMPRESSED}")
    if top.corrupted and repair == "all":
        raise NotModelled("qemu-img check -r all of a damaged image")
    fixed = leaks(top) if repair else 0
    # Flags are put right where counts are beyond doubt (measured: 7.2.22).
    flags = top.stale if repair and not top.corrupted else 0
    told, out = _told(top, flags, repairs=repair is not None), ""
    if fixed or flags:
        top = msgspec.structs.replace(repaired(top), stale=top.stale - flags)
        told += _told(top)
        fs = fs.store(image.top.number, top, image.top.path).sync(image.top.path)
        out = (
            f"The following inconsistencies were found and repaired:\n\n    {fixed} leaked clusters\n"
            f"    {flags} corruptions\n\nDouble checking the fixed image now...\n"
        )
    found, damage = leaks(top), errors(top)
    code = 2 if damage else 3 if found else 0
    if output == "json" and not call.has("q"):
        counted = {"leaks-fixed": fixed, "corruptions-fixed": flags}
        return fs, pretty(_checked(name, top, found, damage, counted)) + "\n", told, code
    return fs, "" if call.has("q") else out + _summary(top, found, damage), told, code


def _told(image: Qcow2, flags: int = 0, *, repairs: bool = False) -> str:
    """What one look tells; where it repairs, counts are gone through a second time (measured: 7.2.22)."""
    doubled, leaked = _doubled(image), _leaked(image, leaks(image))
    told = doubled + leaked + (doubled + leaked.replace("Leaked", "Repairing") if repairs else "")
    return told + _STALE * (image.stale - flags) + _STALE.replace("ERROR", "Repairing") * flags


def _doubled(image: Qcow2) -> str:
    """A line for each cluster that two have written to, as if each had it alone; which they are is not modelled."""
    return "".join(
        f"ERROR cluster {image.used - 1 - at} refcount=1 reference=2\n" for at in reversed(range(image.corrupted))
    )


_STALE = "ERROR OFLAG_COPIED data cluster: l2_entry=8000000000000000 refcount=2\n"
"""Of an entry that has not been told yet how often its cluster is counted; where that is, is not modelled."""


def _require_repair(what: str) -> None:
    if what not in {"leaks", "all"}:
        raise usage(f"Unknown option value for -r (expecting 'leaks' or 'all'): {what}")


def _leaked(image: Qcow2, count: int) -> str:
    """A line for each; which clusters they are is not modelled, so the numbers are those after what is in use."""
    return "".join(f"Leaked cluster {image.used + at} refcount=1 reference=0\n" for at in range(count))


def _clusters(image: Qcow2) -> tuple[int, int]:
    total = -(-image.size_bytes // image.cluster_bytes)
    # What version 3 marks as zeros has no cluster of its own.
    return sum(held != 0 or image.version < 3 for held in image.clusters(image.content).values()), total


def _checked(name: str, image: Qcow2, found: int, damage: int, fixed: Told) -> Told:
    allocated, total = _clusters(image)
    told: Told = {
        "filename": name,
        "format": "qcow2",
        "check-errors": 0,
        "image-end-offset": image.end * image.cluster_bytes,
        "total-clusters": total,
    }
    counts = {"corruptions": damage, "leaks": found, **fixed, "allocated-clusters": allocated}
    counts |= dict.fromkeys(("fragmented-clusters", "compressed-clusters"), image.compressed_count)
    return told | {key: value for key, value in counts.items() if value}


def _summary(image: Qcow2, found: int, damage: int) -> str:
    if not found and not damage:
        lines = ["No errors were found on the image."]
    else:
        lines = []
        if damage:
            lines.append(
                f"\n{damage} errors were found on the image.\n"
                "Data may be corrupted, or further writes to the image may corrupt it."
            )
        if found:
            lines.append(
                f"\n{found} leaked clusters were found on the image.\n"
                "This means waste of disk space, but no harm to data."
            )
    allocated, total = _clusters(image)
    if allocated:
        share = f"{allocated}/{total} = {allocated * 100 / total:.2f}% allocated"
        # A compressed cluster counts as one that stands elsewhere than the one before it.
        compressed = f"{image.compressed_count * 100 / allocated:.2f}%"
        lines.append(f"{share}, {compressed} fragmented, {compressed} compressed clusters")
    return "\n".join([*lines, f"Image end offset: {image.end * image.cluster_bytes}"]) + "\n"
