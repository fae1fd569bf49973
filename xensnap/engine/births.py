"""Looking and planning for what makes a domain: the observations that these plans need are more than one view."""

import msgspec

from xensnap.engine import archive, clone, risks, take_in
from xensnap.engine.newborn import observe_birthplace, uuid_of
from xensnap.engine.plan import Plan
from xensnap.engine.request import Birth, CloneRequest, Fresh
from xensnap.engine.view import Places, observe
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain, DomainUuid, RunState


async def plan_birth(host: Hypervisor, request: Birth, fresh: Fresh) -> Plan:
    """The plan for a request that makes a domain, with the request in it. Changes nothing.

    Raises:
        NotFound: no such domain, snapshot or archive.
        Failed: id `bad-archive`.
        Refused: with every reason against it.
        Usage: it accepts a risk that is not there.
    """
    if isinstance(request, CloneRequest):
        source = await observe(host, request.domain)
        places = Places(directories=clone.directories(source, request))
        place = await observe_birthplace(host, uuid_of(fresh), request.new_name, places)
        plan = clone.plan_clone(source, place, request, fresh)
    else:
        found = await archive.opened(host, request.path)
        who = take_in.identity(found, request, fresh)
        place = await observe_birthplace(host, who.uuid, who.name, Places(directories=frozenset({request.directory})))
        described = None
        if request.configuration:
            described = await host.toolstack.described(request.configuration, source=request.config_file)
        plan = take_in.plan_import(found, place, request, fresh, described)
    risks.require_taken(request.accept, plan.accepted)
    text = msgspec.json.encode(request, order="deterministic").decode()
    return msgspec.structs.replace(plan, request=text, planned_s=fresh.now_s)


def newborn(plan: Plan) -> Domain:
    """The domain that a plan makes, as long as nobody knows it."""
    return Domain(DomainUuid(plan.domain_uuid), plan.domain_name, RunState.OFF, ())
