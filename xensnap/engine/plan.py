"""A plan: everything that an operation is going to do, as data, before any of it is done.

    prepare   steps that can be undone
    state     the decision: replacing `domain.libxl-json` is the one point of no return
    finish    steps that can be repeated until they are done

`finish` never needs a way back, `prepare` never a way on, and a crash anywhere is resolved by asking which side of the
decision it fell on.
"""

from collections.abc import Iterator

import msgspec

from xensnap.engine.rebind_steps import FormerStep
from xensnap.engine.state import DomainState
from xensnap.engine.steps import Step, Together
from xensnap.engine.store_steps import StayRecognised, WriteSidecar
from xensnap.errors import Usage
from xensnap.model import DomainUuid

SCHEMA = "xensnap-plan/1"


class Plan(msgspec.Struct, frozen=True):
    """What will be done, to what was seen.

    `observed` is the hash of the view that it was made from; `apply` refuses when that has moved. `bytes_needed` is an
    upper bound of what the operation writes. `snapshot` is the one that it is about; a collection is about an `image`
    instead. `neighbours` are the domains that share images with it, whose locks are held, too. `accepted` are the risks
    that were taken for it. `follows` is the operation that was decided before it, as the domain's state told: by that a
    journal shows that it has lost some. `request` (JSON) and `planned_s` (seconds since the epoch) are what it was made
    from besides, so that whoever applies it can make it again and compare.
    """

    verb: str
    host: str
    domain_uuid: str
    domain_name: str
    operation: str
    summary: str
    observed: str
    prepare: tuple[Step, ...]
    state: DomainState
    finish: tuple[Step, ...]
    request: str = ""
    planned_s: int = 0
    schema: str = SCHEMA
    snapshot: str = ""
    image: str = ""
    bytes_needed: int = 0
    accepted: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    neighbours: tuple[DomainUuid, ...] = ()
    follows: str = ""

    @property
    def point_of_no_return(self) -> bool:
        """Whether something is given up for good once it is decided."""
        return any(step.destroys for step in each(self.finish))


def each(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps in order, those done side by side one after the other."""
    for step in steps:
        if isinstance(step, Together):
            yield from step.steps
        else:
            yield step


def copies(plan: Plan) -> frozenset[str]:
    """The copies of records beside images that a plan writes, on its way on or on its way back."""
    steps: list[Step] = []
    for step in each(plan.prepare + plan.finish):
        steps += step.records if isinstance(step, StayRecognised) else (step,)
    return frozenset(step.path for step in steps if isinstance(step, WriteSidecar))


def beside(plan: Plan) -> frozenset[DomainUuid]:
    """Whose locks have to be held besides that of its domain: who shares images, and whose store it changes, too."""
    former = frozenset(step.former for step in each(plan.prepare + plan.finish) if isinstance(step, FormerStep))
    return former.union(plan.neighbours)


def encode(plan: Plan) -> bytes:
    """What `--dry-run --json` prints and `apply` reads."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n"


def decode(text: bytes, *, path: str) -> Plan:
    """Read a plan file. `Usage` names the JSON path of what is wrong."""
    remedy = "Make a plan with `--dry-run --json`."
    try:
        plan = msgspec.json.decode(text, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Usage(f"{path} is not a plan: {error}", id="bad-plan", remedy=remedy) from error
    if plan.schema != SCHEMA:
        raise Usage(
            f"{path} is not a plan of this version: {plan.schema!r} - at `$.schema`", id="bad-plan", remedy=remedy
        )
    return plan


def fingerprint(value: object) -> str:
    """A short hash of what was observed, the same for the same values in every process."""
    import hashlib  # noqa: PLC0415 -- loads OpenSSL, which nobody needs who only looks

    return hashlib.blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=16).hexdigest()
