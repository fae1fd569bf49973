"""What all plans have in common: whose they are, which operation they become, and what they were made from."""

import msgspec

from xensnap.engine import risks
from xensnap.engine.plan import Plan
from xensnap.engine.state import DomainState
from xensnap.engine.steps import Step
from xensnap.engine.view import View, digest


def plan_for(
    view: View,
    operation: str,
    verb: str,
    summary: str,
    *,
    snapshot: str = "",
    image: str = "",
    prepare: tuple[Step, ...] = (),
    state: DomainState | None = None,
    renamed: str = "",
    finish: tuple[Step, ...] = (),
    bytes_needed: int = 0,
    taken: risks.Taken = risks.NOTHING,
    warnings: tuple[str, ...] = (),
) -> Plan:
    """The plan of one operation on what was seen.

    Args:
        view: what was seen, and is to be there still when the plan is carried out.
        operation: its id.
        verb: what kind of operation it is.
        summary: what it does, for people.
        snapshot: the one that it is about, or else
        image: the one that it is about.
        prepare: steps that can be undone.
        state: the domain's state once it is decided; as it is where nothing of it changes but the last operation.
        renamed: what the domain is called from then on, if that changes.
        finish: steps that can be repeated until they are done.
        bytes_needed: an upper bound of what it writes.
        taken: the risks that were taken for it.
        warnings: what else whoever asked for it should know.
    """
    return Plan(
        verb=verb,
        host=view.host,
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        operation=operation,
        summary=summary,
        observed=digest(view),
        prepare=prepare,
        state=msgspec.structs.replace(
            state or view.state, domain_name=renamed or view.domain.name, operation=operation
        ),
        finish=finish,
        snapshot=snapshot,
        image=image,
        bytes_needed=bytes_needed,
        accepted=taken.ids,
        warnings=(*taken.warnings, *warnings),
        neighbours=view.neighbours,
        follows=view.state.operation,
    )
