"""`check`: whether a domain can be snapshotted, and what keeps it from that."""

from xensnap.cli.command import command_with
from xensnap.cli.completing import domain_argument
from xensnap.cli.documents.examined import CheckDocument, DiskFitnessDocument, ModeDocument
from xensnap.cli.documents.parts import ReasonDocument
from xensnap.cli.output import clean
from xensnap.cli.records import domain_document
from xensnap.cli.session import Session, verb
from xensnap.engine.check import DiskFitness, Mode, fitness
from xensnap.errors import ExitCode, Reason
from xensnap.model import Kind


@command_with(
    "check",
    "Tell whether a domain can be snapshotted.",
    ("xensnap check guest1", "each way and each disk, with all reasons"),
    ("xensnap check guest1 > /dev/null && xensnap create guest1", ""),
)
@domain_argument
@verb
def command(session: Session, domain: str) -> int:
    """Tell in which ways DOMAIN can be snapshotted now, and every reason against the others. Nothing is changed.

    Ends with 0 if `create` without options would work, else with 6.
    """
    with session.engine(changes=False) as engine:
        view = engine.view(domain)
    found = fitness(view)
    possible = found.modes[0].possible
    document = CheckDocument(
        host=view.host,
        domain=domain_document(view.domain),
        possible=possible,
        modes=tuple(map(_mode, found.modes)),
        disks=tuple(map(_disk, found.disks)),
    )
    session.recovery_due(view.domain.name, view.pending)
    session.show(document, lambda: _text(document))
    return ExitCode.DONE if possible else ExitCode.REFUSED


def _reasons(reasons: tuple[Reason, ...]) -> tuple[ReasonDocument, ...]:
    return tuple(ReasonDocument(each.id, clean(each.cause), clean(each.remedy)) for each in reasons)


def _mode(mode: Mode) -> ModeDocument:
    return ModeDocument(mode.name, mode.options, mode.possible, _reasons(mode.reasons))


def _disk(disk: DiskFitness) -> DiskFitnessDocument:
    reasons = dict(disk.reasons)
    return DiskFitnessDocument(
        vdev=disk.vdev,
        left_out=disk.outside or None,
        usual_kind=disk.kind,
        internal=_reasons(reasons.get(Kind.INTERNAL, ())),
        external=_reasons(reasons.get(Kind.EXTERNAL, ())),
    )


def _text(document: CheckDocument) -> str:
    lines = [f"{document.domain.name} is {document.domain.state}"]
    lines += [f"  {disk.vdev:<12} {_fits(disk)}" for disk in document.disks]
    for mode in document.modes:
        options = f"create {mode.options}".strip()
        lines.append(f"{'yes' if mode.possible else 'no ':<3}  {mode.name}: {options}")
        for reason in mode.reasons:
            lines += [f"       {reason.id}: {reason.cause}", f"         → {reason.remedy}"]
    return "\n".join(map(clean, lines))


def _fits(disk: DiskFitnessDocument) -> str:
    if disk.left_out:
        return f"left out: {disk.left_out}"
    kinds = [kind for kind, reasons in ((Kind.INTERNAL, disk.internal), (Kind.EXTERNAL, disk.external)) if not reasons]
    can = " or ".join(kinds) or "cannot be snapshotted"
    return f"{can}, usually {disk.usual_kind}" if len(kinds) > 1 else can
