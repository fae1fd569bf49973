"""Which place is meant: by the words of `--host`, loaded when it is chosen."""

from importlib import import_module

from xensnap.conformance.run import OpenPlace
from xensnap.errors import Usage

REMEDY = "Say sim, doors, qemu, qemu:DIR, xen, xen:DIR, or MODULE:FACTORY for a host of your own."


def opener(spec: str | None) -> OpenPlace:
    """What makes places ready on the host that was chosen.

    Raises:
        Usage: there is no such host to be tried.
    """
    kind, colon, rest = (spec or "sim").partition(":")
    if kind == "sim" and not colon:
        from xensnap.conformance.places.simulated import SimulatedPlace  # noqa: PLC0415 -- loaded when it is chosen

        return SimulatedPlace
    if kind == "doors" and not colon:
        from xensnap.conformance.places.doors import DoorPlace  # noqa: PLC0415 -- as above

        return DoorPlace
    if kind == "qemu":
        from xensnap.conformance.places.plain_qemu import QemuPlace  # noqa: PLC0415 -- as above

        return lambda _seed: QemuPlace(rest or None)
    if kind == "xen":
        from xensnap.conformance.places.xen import LocalXenPlace  # noqa: PLC0415 -- as above

        return lambda _seed: LocalXenPlace(rest or None)
    if not (colon and rest.isidentifier()):
        raise Usage(f"the host {spec!r} cannot be tried", id="bad-host", remedy=REMEDY)
    try:
        factory: OpenPlace = getattr(import_module(kind), rest)
    except (ImportError, AttributeError) as error:
        raise Usage(f"there is no factory {spec}: {error}", id="bad-host", remedy=REMEDY) from error
    return factory
