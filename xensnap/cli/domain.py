"""`domain`: start and stop domains of hosts that have no toolstack of their own. On Xen that is xl's business."""

from collections.abc import Callable

import click

from xensnap.cli.command import Group
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.done import DomainStateDocument
from xensnap.cli.output import clean
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, riskless
from xensnap.engine.engine import Engine
from xensnap.model import Domain


@click.group("domain", cls=Group, short_help="Start and stop domains, where nothing else does.")
def command() -> None:
    """Start and stop domains of a host without a toolstack of its own, never in the middle of an operation.

    On Xen, use xl.
    """


@command.command("start")
@domain_argument
@click.option("--paused", is_flag=True, help="Let it execute nothing yet.")
@riskless
def start(session: Session, domain: str, paused: bool) -> None:
    """Start DOMAIN from its disks."""
    _tell(session, lambda engine: engine.start(domain, paused=paused))


@command.command("stop")
@domain_argument
@riskless
def stop(session: Session, domain: str) -> None:
    """End DOMAIN at once, as if its power were cut."""
    _tell(session, lambda engine: engine.stop(domain))


@command.command("pause")
@domain_argument
@riskless
def pause(session: Session, domain: str) -> None:
    """Let DOMAIN execute nothing."""
    _tell(session, lambda engine: engine.pause(domain))


@command.command("unpause")
@domain_argument
@riskless
def unpause(session: Session, domain: str) -> None:
    """Let DOMAIN go on."""
    _tell(session, lambda engine: engine.unpause(domain))


def _tell(session: Session, do: Callable[[Engine], Domain]) -> None:
    with session.engine(changes=True) as engine:
        host, domain = engine.host.name, do(engine)
    document = DomainStateDocument(host, domain_document(domain))
    session.stands_still(domain.name, domain.halted)
    session.show(document, lambda: clean(f"{domain.name} is {domain.state}"))
