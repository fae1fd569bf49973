"""`explore`: the conformance cases with many seeds, here or on a Dask cluster, and one report of all of it."""

import time
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from xensnap.cli import conformance_files as files
from xensnap.cli.command import Verb
from xensnap.cli.conformance import (
    DONE_BADLY,
    DONE_WELL,
    capsules_option,
    choosing,
    chosen,
    reporting,
    show,
    stride_option,
)
from xensnap.cli.session import Session, verb
from xensnap.errors import Failed, Usage

if TYPE_CHECKING:
    from xensnap.conformance.campaign import Shard
    from xensnap.conformance.reports.outcomes import RunOutcome

EXAMPLES = (
    ("xensnap explore --host sim --seeds 100", "all cases with a hundred seeds, here"),
    ("xensnap explore --scheduler tcp://host:8786", "on the workers of a Dask cluster"),
    ("xensnap explore --profile crash --html all.html", "one profile, with a page to read"),
)
RETRIES = 3
"""So many workers may be lost with one shard before it is given up."""
JOIN_S = 30.0


@click.command("explore", cls=Verb, examples=EXAMPLES, short_help="Try a host with many seeds, on many machines.")
@choosing
@click.option("--seeds", type=click.IntRange(1), default=8, show_default=True, help="With so many seeds.")
@click.option("--first-seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="From this one on.")
@click.option("--shards", type=click.IntRange(1), default=4, show_default=True, help="Cut each seed into these.")
@stride_option
@click.option("--scheduler", metavar="ADDRESS", help="The Dask scheduler whose workers do it.")
@click.option("--jsonl", metavar="FILE", help="Write the merged run, as `conformance report` reads it.")
@capsules_option
@reporting
@verb
def command(
    session: Session,
    cases: tuple[str, ...],
    profiles: tuple[str, ...],
    seeds: int,
    first_seed: int,
    shards: int,
    stride: int,
    scheduler: str | None,
    jsonl: str | None,
    capsules: str,
    reports: dict[str, str],
) -> None:
    """Try each CASE with many seeds, cut into shards, and tell the worst that each case came to.

    A shard that is lost with its worker is carried out again by another. Workers need xensnap of the same version, and
    whatever a host of your own needs. Exit code 0 only if nothing failed.
    """
    from xensnap.conformance.campaign import events_of, merged, shards_of

    spec = session.host_spec or "sim"
    began_s = time.monotonic()
    ids = [case.id for case in chosen(cases, profiles)]
    parts = shards_of(ids, seeds=range(first_seed, first_seed + seeds), parts=shards, stride=stride)
    runs: list[RunOutcome] = []
    for shard, run in _here(parts, spec) if scheduler is None else _on_dask(parts, spec, scheduler):
        runs.append(run)
        for path in files.write_capsules(capsules, run, host=spec, options=shard.options):
            session.warn(f"to see it again: xensnap replay {path}")
    whole = merged(runs, seconds=time.monotonic() - began_s)
    with files.writing(jsonl) as write:
        for event in events_of(whole):
            write(event)
            show(session, event)
    files.write_reports((whole,), reports)
    click.get_current_context().exit(DONE_BADLY if whole.ended.bad else DONE_WELL)


def carried_out(shard: "Shard", spec: str) -> bytes:
    """One shard, in whatever process this is called."""
    from xensnap.conformance.campaign import carry_out
    from xensnap.conformance.places.choosing import opener

    return carry_out(shard, opener(spec), clock=time.monotonic)


def _here(shards: "tuple[Shard, ...]", spec: str) -> "Iterator[tuple[Shard, RunOutcome]]":
    from xensnap.conformance.campaign import read

    for shard in shards:
        yield shard, read(carried_out(shard, spec))


def _on_dask(shards: "tuple[Shard, ...]", spec: str, scheduler: str) -> "Iterator[tuple[Shard, RunOutcome]]":
    from xensnap.conformance.campaign import lost, read

    try:
        distributed: Any = import_module("distributed")
    except ImportError as missing:
        remedy = "pip install 'xensnap[testing,cluster]'"
        raise Usage("--scheduler needs the package distributed", id="missing-package", remedy=remedy) from missing
    try:
        client = distributed.Client(scheduler, timeout=JOIN_S, set_as_default=False)
    except (OSError, ValueError) as silence:
        remedy = "Look at the address and whether the scheduler runs: dask scheduler."
        raise Failed(f"no Dask scheduler at {scheduler}: {silence}", id="no-scheduler", remedy=remedy) from silence
    with client, client.as_current():
        futures = {client.submit(carried_out, shard, spec, pure=False, retries=RETRIES): shard for shard in shards}
        for future in distributed.as_completed(futures):
            shard = futures[future]
            error = future.exception()
            yield shard, read(future.result()) if error is None else lost(shard, f"{type(error).__name__}: {error}")
