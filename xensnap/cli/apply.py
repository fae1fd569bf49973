"""`apply`: carry out exactly a plan that was shown before."""

import sys

import click

from xensnap.cli.command import command_with
from xensnap.cli.documents.done import ApplyDocument
from xensnap.cli.names import configuration_file, local_file, said
from xensnap.cli.operate import interruptible, show_result
from xensnap.cli.session import Session, accepting
from xensnap.engine import plan as plans
from xensnap.engine.risks import require_taken
from xensnap.engine.shown import file_not_shown, with_file


@command_with(
    "apply",
    "Carry out a plan that --dry-run --json printed.",
    ("xensnap revert guest1 clean --dry-run --json > plan.json", "make a plan"),
    ("xensnap apply plan.json", "carry it out"),
)
@click.argument("plan", metavar="PLAN.json|-")
@accepting
def command(session: Session, plan: str) -> None:
    """Carry out exactly this plan, or nothing if the domain is no longer what it was when the plan was made.

    The plan says which risks were accepted when it was made; no others can be.
    """
    wanted = plans.decode(_text(plan), path="standard input" if plan == "-" else plan)
    require_taken(session.accept, wanted.accepted)
    if file := file_not_shown(wanted):
        wanted = with_file(wanted, configuration_file(file)[0])
    with session.engine(changes=True) as engine:
        result = interruptible(engine, wanted.domain_uuid, lambda: engine.apply(wanted))
    show_result(session, result, ApplyDocument)


def _text(path: str) -> bytes:
    return said(sys.stdin.buffer, "standard input") if path == "-" else local_file(path)
