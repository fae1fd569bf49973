"""`create`: take a snapshot."""

import click

from xensnap.cli import operate
from xensnap.cli.choices import FORM, THEN, disk_choices
from xensnap.cli.command import command_with
from xensnap.cli.names import full_path
from xensnap.cli.session import Session, accept_option, changing, dry_run_option, verb
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import Usage
from xensnap.hypervisor import Then
from xensnap.model import Kind


@command_with(
    "create",
    "Take a snapshot of a domain.",
    ("xensnap create guest1", "disks, and memory if it runs"),
    ("xensnap create guest1 -n before-upgrade -D", "disks only, without a stop"),
    ("xensnap create guest1 --live", "memory copied while it runs"),
    ("xensnap create guest1 --disk xvdb=external:/fast/b.qcow2", "choose where to go on"),
)
@click.argument("words", nargs=-1, required=True, metavar="[CONFIG] DOMAIN")
@click.option("-n", "--name", metavar="NAME", help="Name of the snapshot. [default: the second of its creation]")
@click.option("--description", metavar="TEXT", default="", help="What it is for.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["internal", "external", "auto"]),
    default="auto",
    show_default=True,
    help="Keep it inside the images, or freeze them below overlays.",
)
@click.option("--disk", "disks", multiple=True, metavar=FORM, help="How to treat one disk; can be repeated.")
@click.option("--only", multiple=True, metavar="VDEV", help="Cover no disk but this; can be repeated.")
@click.option("--exclude", multiple=True, metavar="VDEV", help="Leave this disk out; can be repeated.")
@click.option("-D", "--disk-only", is_flag=True, help="Disks without memory; allows leaving out writable disks.")
@click.option("--external-dir", metavar="DIR", default="", help="Where to put overlays. [default: beside the image]")
@click.option("--live", is_flag=True, help="Let the guest run while its memory is copied; it stops only at the end.")
@click.option("--then", type=THEN, default="same", show_default=True, help="What the guest does afterwards.")
@accept_option
@dry_run_option
@verb
@changing
def command(
    session: Session,
    words: tuple[str, ...],
    name: str | None,
    description: str,
    kind: str,
    disks: tuple[str, ...],
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    disk_only: bool,
    external_dir: str,
    live: bool,
    then: str,
    accept: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Take a snapshot of DOMAIN, a name or a UUID.

    Of a guest that runs its memory is saved, too, at the same moment, unless --disk-only.
    """
    domain = _domain(words)

    def build(engine: Engine) -> CreateRequest:
        host = engine.host.name
        looked_at = engine.list(domain).domain
        return CreateRequest(
            name=name,
            description=description,
            kind=None if kind == "auto" else Kind(kind),
            disks=disk_choices(looked_at, disks=disks, only=only, exclude=exclude, host=host),
            disk_only=disk_only,
            external_dir=full_path(external_dir, host=host) if external_dir else "",
            live=live,
            then=Then(then),
            accept=accept,
        )

    operate.run(session, domain, build, dry_run=dry_run)


def _domain(words: tuple[str, ...]) -> str:
    """The last word is always the domain; one before it would be a configuration file (2014 design)."""
    if len(words) > 2:
        cause = f"one domain is expected, and at most a configuration file before it, not {len(words)} words"
        raise Usage(cause, id="too-many-words", remedy="Take one snapshot at a time.")
    if len(words) == 2:
        cause = f"the snapshot configuration file {words[0]!r} cannot be read by this version yet"
        remedy = "Say the same with options: see `xensnap create --help`."
        raise Usage(cause, id="config-file-not-yet", remedy=remedy)
    return words[-1]
