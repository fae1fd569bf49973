"""`edit`: describe a snapshot anew."""

import click

from xensnap.cli import operate
from xensnap.cli.session import Interrupted, Session, changing, dry_run_option, verb
from xensnap.engine.engine import Engine
from xensnap.engine.request import EditRequest
from xensnap.engine.revert import known


@click.command("edit", short_help="Describe a snapshot anew.")
@click.argument("domain")
@click.argument("name")
@click.option("--description", metavar="TEXT", help="What it is for. [default: asked for in your editor]")
@dry_run_option
@verb
@changing
def command(session: Session, domain: str, name: str, description: str | None, dry_run: bool) -> None:
    """Describe the snapshot NAME of DOMAIN anew. The record stays what it is otherwise."""
    if description is None:
        description = _edited(session, domain, name)
    request = EditRequest(name, description)
    operate.run(session, domain, lambda _engine: request, dry_run=dry_run)


def _edited(session: Session, domain: str, name: str) -> str:
    """What the operator's editor makes of the description; no lock is held while somebody thinks."""
    with session.engine(changes=False) as engine:
        before = _description(engine, domain, name)
    text = click.edit(before)
    if text is None:
        raise Interrupted("the text was not saved; nothing was changed")
    return text.strip()


def _description(engine: Engine, domain: str, name: str) -> str:
    listing = engine.list(domain)
    return known(listing.contents.snapshots, name, domain=listing.domain.name).description
