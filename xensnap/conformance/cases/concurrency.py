"""Several at once: one after the other, or one is told that the other is at work."""

from collections.abc import Coroutine
from typing import Any

from xensnap.conformance.case import Profile, case
from xensnap.conformance.trial import Trial
from xensnap.engine.engine import AsyncEngine
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.errors import Busy, XensnapError
from xensnap.hypervisor import Capability
from xensnap.model import Kind


@case(Profile.CONCURRENCY, "S4", "C16", needs={Capability.INTERNAL})
def two_operations_at_once_are_one_after_the_other(trial: Trial) -> None:
    """Two engines work on one domain at once: each is done whole or told that it is busy, and nothing is torn."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("old", kind=Kind.INTERNAL)
    one, two = AsyncEngine(trial.host), AsyncEngine(trial.host)

    async def tried(work: Coroutine[Any, Any, object]) -> str:
        try:
            await work
        except Busy:
            return "busy"
        except XensnapError as error:
            return error.id
        return "done"

    async def both() -> list[str]:
        return await trial.host.gather(
            tried(one.create(guest.name, CreateRequest("new", kind=Kind.INTERNAL))),
            tried(two.delete(guest.name, DeleteRequest("old"))),
        )

    told = trial.host.run(both())
    trial.did(f"{guest.name}: create 'new' and delete 'old' at once", ", ".join(told), tree=guest.tree())
    trial.require({*told} <= {"done", "busy"}, f"they ended as {told}")
    trial.require("done" in told, f"neither was done: {told}")
    made = {"new"} if told[0] == "done" else set()
    kept = set() if told[1] == "done" else {"old"}
    trial.equal({*guest.snapshots()}, made | kept, "the snapshots")
    trial.same(guest.shows(), then, "after both")
