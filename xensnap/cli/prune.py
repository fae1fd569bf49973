"""`prune`: delete what a retention policy does not keep."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.done import KeptDocument, PruneDocument
from xensnap.cli.output import clean, table
from xensnap.cli.session import Session, planned
from xensnap.cli.times import SPAN, span_s
from xensnap.engine.engine import Engine
from xensnap.engine.prune import kept_by
from xensnap.engine.request import PruneRequest
from xensnap.engine.retention import Retention
from xensnap.errors import Usage

COUNT = click.IntRange(min=1)


@command_with(
    "prune",
    "Delete what a retention policy does not keep.",
    ("xensnap prune guest1 --keep-daily 7 --keep-weekly 4 --dry-run", "the fate of each"),
    ("xensnap prune guest1 --keep-last 10", "all but the newest ten"),
)
@domain_argument
@click.option("--keep-last", type=COUNT, metavar="N", help="Keep the newest N.")
@click.option("--keep-hourly", type=COUNT, metavar="N", help="Keep the newest of each of N hours.")
@click.option("--keep-daily", type=COUNT, metavar="N", help="Keep the newest of each of N days.")
@click.option("--keep-weekly", type=COUNT, metavar="N", help="Keep the newest of each of N weeks.")
@click.option("--keep-monthly", type=COUNT, metavar="N", help="Keep the newest of each of N months.")
@click.option("--keep-yearly", type=COUNT, metavar="N", help="Keep the newest of each of N years.")
@click.option("--keep-within", type=SPAN, metavar="SPAN", help="Keep all that are younger, such as 2d.")
@click.option("--policy", metavar="NAME", help="The rules of [retention.NAME] in a configuration file.")
@planned
def command(
    session: Session,
    domain: str,
    keep_last: int | None,
    keep_hourly: int | None,
    keep_daily: int | None,
    keep_weekly: int | None,
    keep_monthly: int | None,
    keep_yearly: int | None,
    keep_within: int | None,
    policy: str | None,
) -> None:
    """Delete the snapshots of DOMAIN that no rule keeps. One that is pinned stays, and the one that DOMAIN is at.

    Periods are UTC's, and only those with a snapshot count. With --dry-run each snapshot is listed with its fate.
    """
    rules = (keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, keep_within)
    if policy is not None and any(rules):
        cause = "--policy and rules of its own contradict each other"
        raise Usage(cause, id="contradiction", remedy="Give one of them.")
    keep = Retention(*(rule or 0 for rule in rules)) if policy is None else _named(session, policy)
    request = PruneRequest(keep)
    with session.engine(changes=not session.dry_run) as engine:
        why, gone = _fates(engine, domain, request)
        if session.dry_run and not session.json:
            session.print(_text(why, gone))
        result = operate.perform(session, engine, domain, request, kept=_kept(why))
    if result is not None:
        operate.show_result(session, result, PruneDocument, deleted=operate.deleted_by(result.plan), kept=_kept(why))


def _named(session: Session, policy: str) -> Retention:
    """The policy of this name in the configuration."""
    said = session.configuration.retention.get(policy)
    if said is None:
        there = ", ".join(session.configuration.retention) or "none"
        cause = f"no configuration file has a retention policy {policy!r}"
        raise Usage(cause, id="no-such-policy", remedy=f"There are: {there}.")
    counts = (said.keep_last, said.keep_hourly, said.keep_daily, said.keep_weekly, said.keep_monthly, said.keep_yearly)
    return Retention(*counts, within_s=span_s(said.keep_within) or 0)


def _fates(engine: Engine, domain: str, request: PruneRequest) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is kept, each with the reason, and what is not."""
    view = engine.view(domain)
    why = kept_by(view, request, now_s=engine.now_s())
    return why, tuple(name for name in view.snapshots if name not in why)


def _kept(why: dict[str, str]) -> tuple[KeptDocument, ...]:
    return tuple(KeptDocument(name, reason) for name, reason in why.items())


def _text(why: dict[str, str], gone: tuple[str, ...]) -> str:
    rows = [("keep", clean(name), clean(reason)) for name, reason in why.items()]
    rows += [("delete", clean(name), "no rule keeps it") for name in gone]
    return table(("FATE", "NAME", "WHY"), rows) + "\n"
