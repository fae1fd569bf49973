"""Planning to delete what a retention policy does not keep. Pure."""

from xensnap.engine import retention
from xensnap.engine.delete import plan_removal
from xensnap.engine.plan import Plan
from xensnap.engine.request import Fresh, PruneRequest
from xensnap.engine.view import View, with_current
from xensnap.errors import Reason, Usage


def kept_by(view: View, request: PruneRequest, *, now_s: int) -> dict[str, str]:
    """The snapshots that the policy keeps, each with the reason.

    Raises:
        Usage: the policy has no rule, and nobody deletes everything by forgetting one.
    """
    if request.keep.empty:
        cause = "a retention policy without any rule would keep nothing"
        raise Usage(cause, id="no-retention-rule", remedy="Give one, such as --keep-daily 7.")
    return retention.kept(view.snapshots, request.keep, now_s=now_s, current=with_current(view))


def plan_prune(view: View, request: PruneRequest, fresh: Fresh) -> Plan:
    """Plan the deletion; see `plan_delete` for how.

    Args:
        view: what was observed.
        request: the policy.
        fresh: operation id and time.

    Raises:
        Refused: with every reason against it, `nothing-to-prune` among them. Nothing was touched.
        Usage: the policy has no rule.
    """
    names = frozenset(view.snapshots) - frozenset(kept_by(view, request, now_s=fresh.now_s))
    cause = f"the policy keeps every snapshot of {view.domain.name}"
    nothing = [] if names else [Reason("nothing-to-prune", cause, "Nothing has to be done.")]
    return plan_removal(view, names, fresh, accept=request.accept, reasons=nothing, verb="prune")
