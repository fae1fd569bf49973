"""What the plain QEMU host cannot do yet, said in one way."""

from xensnap.errors import Reason, Refused


def unsupported(what: str) -> Refused:
    """The refusal of `what` on this host: effect none."""
    cause = f"the plain QEMU host cannot {what}: its domains are always off"
    return Refused([Reason("unsupported-on-host", cause, "Use disk snapshots here, or a host that runs domains.")])
