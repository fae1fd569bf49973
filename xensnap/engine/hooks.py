"""When the operator's programs run around an operation, and what becomes of their failures.

    pre-VERB     before the journal begins: a program that fails may refuse the operation, and nothing was touched
    post-VERB    when it has ended, however it did: done, undone, failed or refused; also after a recovery

So a post hook always follows its pre hook, even over the death of the process: whatever the one stopped, the other can
start again.
"""

from contextlib import suppress

from xensnap.engine.plan import Plan
from xensnap.errors import Effect, Failed, Reason, Refused, XensnapError
from xensnap.hypervisor import Hypervisor

DEADLINE_S_MAX = 3600.0
"""How long one program may take at most, whatever the operator allows it: the domain is locked meanwhile."""


async def before(host: Hypervisor, plan: Plan) -> tuple[str, ...]:
    """Run what comes before; what went wrong and is only to be told.

    Raises:
        Refused: id `hook-failed`: a program wants nothing to be done. What comes after has been run by then.
    """
    try:
        return await _run(host, plan, "pre", "")
    except XensnapError as error:
        with suppress(XensnapError):
            await _run(host, plan, "post", "refused")
        raise Refused([Reason("hook-failed", error.cause, error.remedy)]) from error


async def after(host: Hypervisor, plan: Plan, result: str) -> tuple[str, ...]:
    """Run what comes after; what went wrong and is only to be told.

    Raises:
        Failed: a program failed that must not. The operation itself is at its end.
    """
    try:
        return await _run(host, plan, "post", result)
    except XensnapError as error:
        cause = f"{plan.summary}: {result}, but {error.cause}"
        raise Failed(cause, id="hook-failed", remedy=error.remedy, effect=Effect.DONE) from error


async def after_failure(host: Hypervisor, plan: Plan, error: XensnapError) -> None:
    """Run what comes after an operation that failed; its own error is the one to be told."""
    if error.effect is Effect.NONE:  # else it is not over: the recovery will do it
        with suppress(XensnapError):
            await _run(host, plan, "post", "failed")


async def _run(host: Hypervisor, plan: Plan, when: str, result: str) -> tuple[str, ...]:
    if host.hooks is None:
        return ()
    facts = {
        "XENSNAP_HOST": plan.host,
        "XENSNAP_VERB": plan.verb,
        "XENSNAP_DOMAIN": plan.domain_name,
        "XENSNAP_DOMAIN_UUID": plan.domain_uuid,
        "XENSNAP_SNAPSHOT": plan.snapshot,
        "XENSNAP_OPERATION": plan.operation,
        "XENSNAP_RESULT": result,
    }
    return await host.hooks.run(f"{when}-{plan.verb}", facts, timeout_s=DEADLINE_S_MAX)
