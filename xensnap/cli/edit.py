"""`edit`: change what a snapshot is for, in an editor."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.session import Interrupted, Session, planned
from xensnap.engine import tree
from xensnap.engine.engine import Engine
from xensnap.engine.request import EditRequest
from xensnap.errors import Failed


@command_with(
    "edit",
    "Change a description in your editor.",
    ("xensnap edit guest1 clean", "in your editor"),
)
@domain_argument
@name_argument
@planned
def command(session: Session, domain: str, name: str) -> None:
    """Change the description of the snapshot NAME of DOMAIN in $VISUAL or $EDITOR. `describe` does it without."""
    request = EditRequest(name, _edited(session, domain, name))
    operate.run(session, domain, lambda _engine: request)


def _edited(session: Session, domain: str, name: str) -> str:
    """What the operator's editor makes of the description; no lock is held while somebody thinks."""
    with session.engine(changes=False) as engine:
        before = _description(engine, domain, name)
    try:
        text = click.edit(before)
    except click.ClickException as error:
        cause = f"{error.format_message()}; nothing was changed"
        raise Failed(cause, id="no-such-program", remedy="Set $EDITOR, or use `xensnap describe`.") from error
    if text is None:
        raise Interrupted("the text was not saved; nothing was changed")
    return text.strip()


def _description(engine: Engine, domain: str, name: str) -> str:
    listing = engine.list(domain)
    return tree.known(listing.contents.snapshots, name, domain=listing.domain.name).description
