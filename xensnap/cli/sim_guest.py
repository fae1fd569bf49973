"""`sim write`, `sim read`: being the guest, or whoever wrote to the disks before."""

from collections.abc import Iterator, Mapping, Sequence

import click

from xensnap import hosts
from xensnap.cli.command import Verb
from xensnap.cli.documents.simulated import SeenRun, SimReadDocument, SimWriteDocument
from xensnap.cli.output import clean, size, table
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_place import chosen, size_of
from xensnap.errors import NotFound, Usage

SECTOR = 512

Shown = tuple[int, tuple[tuple[int, int, int], ...]]
"""Where a disk ends, and which sectors from where up to where hold which write."""


@click.command("write", cls=Verb, short_help="Write to a disk, as its guest would.")
@click.argument("domain")
@click.argument("vdev")
@click.argument("offset")
@click.argument("length")
@verb
@changing
def write(session: Session, domain: str, vdev: str, offset: str, length: str) -> None:
    """Write LENGTH bytes at OFFSET of a disk. Each write has a number, by which `sim read` tells it again."""
    at, count = size_of(offset), size_of(length)
    if not count or at % SECTOR or count % SECTOR:
        raise Usage("a guest writes whole sectors of 512 bytes, and at least one", id="bad-size")
    with hosts.open_simulated(chosen(session), wait_s=session.wait_s) as host:
        end, _ = _shown(host.visible(domain), domain, vdev)
        if at + count > end:
            raise Usage(f"{vdev} ends at {end} bytes", id="beyond-the-end")
        number = host.write(domain, vdev, at, count)
        document = SimWriteDocument(host.name, domain, vdev, at, count, number)
    session.show(document, lambda: f"write {number}: {size(count)} at {size(at)} of {clean(domain)} {clean(vdev)}")


@click.command("read", cls=Verb, short_help="Tell what is seen on a disk.")
@click.argument("domain")
@click.argument("vdev")
@click.argument("offset", required=False)
@click.argument("length", required=False)
@verb
def read(session: Session, domain: str, vdev: str, offset: str | None, length: str | None) -> None:
    """Tell which writes are seen on a disk, from OFFSET for LENGTH bytes or from end to end."""
    low = size_of(offset) if offset is not None else 0
    count = size_of(length) if length is not None else None
    with hosts.open_simulated(chosen(session), changes=False) as host:
        end, runs = _shown(host.visible(domain), domain, vdev)
    high = end if count is None else low + count
    if low > end or high > end:
        raise Usage(f"{vdev} ends at {end} bytes", id="beyond-the-end")
    found = tuple(seen_runs(runs, low, high))
    rows = [(size(run.offset_bytes), size(run.length_bytes), _said(run)) for run in found]
    session.show(
        SimReadDocument(session.host_name, domain, vdev, found), lambda: table(("AT", "LENGTH", "HOLDS"), rows)
    )


def _shown(seen: Mapping[str, Shown], domain: str, vdev: str) -> Shown:
    if vdev not in seen:
        remedy = f"It has: {', '.join(seen) or 'none'}."
        raise NotFound(f"{domain} has no disk {vdev}", id="disk-not-found", remedy=remedy)
    return seen[vdev]


def seen_runs(runs: Sequence[tuple[int, int, int]], low: int, high: int) -> Iterator[SeenRun]:
    """The part of a disk from `low` up to `high`, without gaps; what no write has touched is zeros, told as 0."""
    at = low
    for start, end, number in runs:
        begin, stop = max(start * SECTOR, low), min(end * SECTOR, high)
        if begin < stop:
            if at < begin:
                yield SeenRun(at, begin - at, 0)
            yield SeenRun(begin, stop - begin, number)
            at = stop
    if at < high:
        yield SeenRun(at, high - at, 0)


def _said(run: SeenRun) -> str:
    return f"write {run.write}" if run.write else "zeros"
