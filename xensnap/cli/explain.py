"""`explain`: what an error id means, without any host."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import errors
from xensnap.cli.documents.examined import ExplainDocument, Explained
from xensnap.cli.explanations import EXPLANATIONS
from xensnap.cli.session import Session, told
from xensnap.engine.risks import RISKS
from xensnap.errors import NotFound


@command_with(
    "explain",
    "Tell what an error means and what to do.",
    ("xensnap explain kind-is-sticky", ""),
    ("xensnap explain | grep -i qemu", "all that are about something"),
)
@click.argument("error_id", metavar="[ERROR-ID]", default="", shell_complete=errors)
@told
def command(session: Session, error_id: str) -> None:
    """Tell what the error ERROR-ID means and what can be done about it; without one, tell what each means.

    The id is what `--json` calls `id`, and what stands before each reason of a refusal.
    """
    wanted = [error_id] if error_id else sorted(EXPLANATIONS)
    if error_id and error_id not in EXPLANATIONS:
        near = _near(error_id)
        remedy = f"Did you mean {near!r}?" if near else "`xensnap explain` lists them all."
        raise NotFound(f"there is no error {error_id!r}", id="no-such-error", remedy=remedy)
    document = ExplainDocument("", tuple(_explained(each) for each in wanted))
    session.show(document, lambda: _text(document) if error_id else _all(document))


def _explained(error_id: str) -> Explained:
    what, remedy = EXPLANATIONS[error_id]
    return Explained(error_id, what, remedy, RISKS.get(error_id))


def _all(document: ExplainDocument) -> str:
    width = max(len(each.id) for each in document.errors)
    return "\n".join(f"{each.id:<{width}}  {each.meaning}" for each in document.errors)


def _near(error_id: str) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(error_id, EXPLANATIONS, n=1)), "")


def _text(document: ExplainDocument) -> str:
    each = document.errors[0]
    risk = [f"  as a risk    --accept {each.id}: {each.risk}"] if each.risk else []
    return "\n".join([each.id, f"  what it is   {each.meaning}", f"  what to do   {each.remedy}", *risk])
