"""Planning one repair. Pure: each is an operation of its own, so that one that fails keeps nobody from the others."""

import msgspec

from xensnap.engine.doctor.finding import Finding, Repair
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.execute import REPAIR
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.state import DomainState


def plan_repair(seen: Survey, finding: Finding) -> Plan:
    """The plan that mends a finding which has a repair.

    Args:
        seen: what it was found in.
        finding: with a repair.
    """
    repair = finding.repair
    assert repair is not None, "only what can be repaired is planned"
    view = seen.view
    return plan_for(
        view,
        seen.fresh,
        REPAIR,
        f"repair {view.domain.name}: {finding.id} ({finding.subject})",
        prepare=repair.prepare,
        state=_state(seen, repair),
        finish=repair.finish,
    )


def _state(seen: Survey, repair: Repair) -> DomainState:
    """The domain's state with what the repair changes; rebuilt already where it could not be read."""
    before = repair.state or seen.view.state
    claimed = {entry.path for entry in repair.claims}
    hidden = {base for base in before.hidden if base.path not in repair.forgets}
    return msgspec.structs.replace(
        before,
        domain_uuid=seen.view.domain.uuid,
        current=repair.current[0] if repair.current else before.current,
        ours=(
            *(entry for entry in before.ours if entry.path not in repair.forgets | claimed),
            *repair.claims,
        ),
        hidden=tuple(sorted(hidden | set(repair.hides))),
        let_go=tuple(snapshot for snapshot in before.let_go if snapshot.name not in repair.drops),
    )
