"""`create`: take a snapshot."""

from functools import cache

import click
import msgspec

from xensnap.cli import operate
from xensnap.cli.choices import FORM, THEN, disk_choices
from xensnap.cli.command import command_with
from xensnap.cli.completing import domains
from xensnap.cli.documents.done import ConfigDiskDocument, ConfigDocument, CreateDocument
from xensnap.cli.names import full_path
from xensnap.cli.session import Session, domain_config_option, planned
from xensnap.cli.snapshot_config import EMPTY, choices, combined, domain_and_file, memory_given, memory_path, read
from xensnap.engine.request import CreateRequest, Quiesce
from xensnap.formats import snapshot_cfg
from xensnap.formats.snapshot_cfg import SnapshotConfig
from xensnap.hypervisor import Then
from xensnap.model import Domain, Kind

DOWNTIME_S_MIN, DOWNTIME_S_MAX = 0.1, 2000.0
"""QEMU 7.2 takes no more, and looks ten times a second how fast it writes: before that it keeps no limit."""

SEED_NAME = "snapshot-create"
"""By this name the default is that of the 2014 design: internal, and refused where an image cannot hold a snapshot."""


@command_with(
    "create",
    "Take a snapshot of a domain.",
    ("xensnap create guest1", "disks, and memory if it runs"),
    ("xensnap create guest1 -n before-upgrade -D", "disks only, without a stop"),
    ("xensnap create guest1 --live", "memory copied while it runs"),
    ("xensnap create guest1 --disk xvdb=external:/fast/b.qcow2", "choose where to go on"),
    ("xensnap create before.cfg guest1", "as xl.snapshot.cfg(5) says it"),
)
@click.argument("words", nargs=-1, required=True, metavar="[CONFIG] DOMAIN", shell_complete=domains)
@click.option("-f", "--config", metavar="FILE", help="Read the snapshot's configuration, as CONFIG before DOMAIN does.")
@click.option("-n", "--name", metavar="NAME", help="Its name. [default: the present second]")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["internal", "external", "auto"]),
    help="Keep it inside the images, or freeze them below overlays. [default: auto]",
)
@click.option("--disk", "disks", multiple=True, metavar=FORM, help="How to treat one disk; can be repeated.")
@click.option("--only", multiple=True, metavar="VDEV", help="Cover no disk but this; can be repeated.")
@click.option("--exclude", multiple=True, metavar="VDEV", help="Leave this disk out; can be repeated.")
@click.option("-D", "--disk-only", is_flag=True, help="Disks without memory; allows leaving out writable disks.")
@click.option("--memory", metavar="yes|no|PATH", help="Whether and where to save the memory.")
@click.option("--external-dir", metavar="DIR", default="", help="Where overlays go, else by the image.")
@click.option("--live", is_flag=True, help="Let the guest run while its memory is copied; it stops only at the end.")
@click.option(
    "--max-downtime",
    type=click.FloatRange(min=DOWNTIME_S_MIN, max=DOWNTIME_S_MAX),
    metavar="SECONDS",
    help="With --live: fail rather than stop longer.",
)
@click.option("--then", type=THEN, default="same", show_default=True, help="What the guest does afterwards.")
@click.option(
    "--quiesce",
    type=click.Choice([each.value for each in Quiesce]),
    default=Quiesce.NEVER.value,
    help="Freeze its file systems.",
)
@click.option(
    "--quiesce-timeout",
    type=click.FloatRange(min=1, max=999),
    default=CreateRequest(None).quiesce_timeout_s,
    metavar="SECONDS",
    help="For how long. [default: 10]",
)
@click.option("--replace", is_flag=True, help="Take the place of one of the same name.")
@click.option("--reuse-external", is_flag=True, help="Overlays may exist, if they are empty.")
@domain_config_option("The file that xl starts the domain from.")
@click.option("--print-config", is_flag=True, help="Show what file and options come to, as a file; change nothing.")
@planned
def command(
    session: Session,
    words: tuple[str, ...],
    config: str | None,
    name: str | None,
    description: str | None,
    kind: str | None,
    disks: tuple[str, ...],
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    disk_only: bool,
    memory: str | None,
    external_dir: str,
    live: bool,
    max_downtime: float | None,
    then: str,
    quiesce: str,
    quiesce_timeout: float,
    replace: bool,
    reuse_external: bool,
    print_config: bool,
) -> None:
    """Take a snapshot of DOMAIN, a name or a UUID.

    Of a guest that runs its memory is saved, too, at the same moment, unless --disk-only. With a configuration file,
    whose syntax is that of xl.snapshot.cfg(5), only what the file says; file and options may not contradict each other.
    """
    wants_memory, memory_at = memory_given(memory)
    options = SnapshotConfig(
        source="the command line",
        name=name,
        description=description,
        memory=wants_memory,
        memory_path=memory_at,
        kind=Kind(kind) if kind in set(Kind) else None,
        live=live or None,
        disk_only=disk_only or None,
    )
    with session.engine(changes=not (session.dry_run or print_config)) as engine:
        domain, path = domain_and_file(engine, words, config)
        host = engine.host.name

        @cache
        def looked_at() -> Domain:
            """Only for what speaks of the disks that it has: a look starts an xl."""
            return engine.list(domain).domain

        told = disk_choices(looked_at, disks=disks, only=only, exclude=exclude, host=host)
        file = read(path, looked_at()) if path is not None else None
        wanted = combined(file or EMPTY, options, disks_told=bool(told), auto=kind == "auto")
        inside = wanted.kind is None and kind is None and (file is not None or _called() == SEED_NAME)
        if inside:
            wanted = msgspec.structs.replace(wanted, kind=Kind.INTERNAL)
        if print_config:
            looked_at()
            session.show(_document(host, wanted), lambda: snapshot_cfg.dump(wanted).rstrip("\n"))
            return
        request = CreateRequest(
            name=wanted.name,
            description=wanted.description or "",
            kind=wanted.kind,
            disks=told or choices(wanted, looked_at),
            disk_only=bool(wanted.disk_only) or wanted.memory is False or (file is not None and not wanted.memory),
            external_dir=full_path(external_dir, host=host) if external_dir else "",
            live=bool(wanted.live),
            max_downtime_s=max_downtime,
            then=Then(then),
            memory=memory_path(wanted, host=host),
            needs_memory=bool(wanted.memory),
            replace=replace,
            reuse_external=reuse_external,
            quiesce=Quiesce(quiesce),
            quiesce_timeout_s=quiesce_timeout,
        )
        result = operate.perform(session, engine, domain, request)
    if result is not None:
        warnings = (*wanted.warnings, *result.warnings)
        operate.show_result(session, msgspec.structs.replace(result, warnings=warnings), CreateDocument)
    else:
        session.warnings(wanted.warnings)


def _called() -> str | None:
    """The name by which the command was called, which may be its other one."""
    return click.get_current_context().info_name


def _document(host: str, config: SnapshotConfig) -> ConfigDocument:
    """The same for a program."""
    return ConfigDocument(
        host=host,
        name=config.name,
        description=config.description,
        memory=config.memory,
        memory_path=config.memory_path or None,
        type=config.kind,
        live=config.live,
        disk_only=config.disk_only,
        disks=None
        if config.disks is None
        else tuple(ConfigDiskDocument(disk.vdev, disk.kind, disk.path or None) for disk in config.disks),
        warnings=config.warnings,
    )
