"""`export`: a snapshot as one file, to be kept or moved."""

import click

from xensnap.cli import operate
from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument, name_argument
from xensnap.cli.documents.done import ExportDocument
from xensnap.cli.names import full_path
from xensnap.cli.session import Session, planned
from xensnap.engine.request import ExportRequest


@command_with(
    "export",
    "Write a snapshot into one file.",
    ("xensnap export guest1 clean", "guest1-clean.xensnap, in this directory"),
    ("xensnap export guest1 clean -o /backup/clean.xensnap", "somewhere else"),
    ("tar -tvf guest1-clean.xensnap", "what is in it"),
)
@domain_argument
@name_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    help="The file, which must not exist. [default: DOMAIN-NAME.xensnap]",
)
@planned
def command(session: Session, domain: str, name: str, output: str | None) -> None:
    """Write the snapshot NAME of DOMAIN into one archive, from which `import` makes the domain on any host of its kind:
    its record, its memory if it has some, each disk as it was in a standalone image, and sums of all that.

    The file gets its name when it is whole. The guest may run meanwhile.
    """
    path = output or f"{domain}-{name}.xensnap".replace("/", "_")
    with session.engine(changes=not session.dry_run) as engine:
        request = ExportRequest(name, full_path(path, host=session.host_name))
        result = operate.perform(session, engine, domain, request)
        stat = engine.host.run(engine.host.files.stat(request.path)) if result is not None else None
    if result is not None:
        length = stat.length_bytes if stat else 0
        operate.show_result(session, result, ExportDocument, path=request.path, size_bytes=length)
