"""`capabilities`: what the chosen host can do."""

from xensnap.cli.command import command_with
from xensnap.cli.documents.examined import CapabilitiesDocument, CapabilityDocument
from xensnap.cli.output import table
from xensnap.cli.session import Session, verb
from xensnap.hypervisor import Capability

MEANING = {
    Capability.INTERNAL: "snapshots inside qcow2 images",
    Capability.EXTERNAL: "snapshots below overlays",
    Capability.RUNNING: "work on domains that run",
    Capability.MEMORY: "save and restore the memory of a guest",
    Capability.LIVE_SAVE: "save memory while the guest runs",
    Capability.DOWNTIME_LIMIT: "say how long it may stand still then",
    Capability.SAVE_PAUSED: "save a guest that is paused",
    Capability.QUIESCE: "ask guests to make their file systems quiet",
    Capability.IMMUTABLE: "protect frozen images with the immutable flag",
}


@command_with("capabilities", "Tell what the host can do.", ("xensnap --host qemu:. capabilities", ""))
@verb
def command(session: Session) -> None:
    """Tell what the chosen host can do. Whether a domain can be snapshotted now is what `check` tells."""
    with session.engine(changes=False) as engine:
        host = engine.host
        has = frozenset(host.capabilities)
        name, root, hooks, agent = host.name, host.root, host.hooks is not None, host.agent is not None
    able = tuple(CapabilityDocument(each.value, each in has, MEANING[each]) for each in Capability)
    document = CapabilitiesDocument(name, root, able, hooks, agent)
    session.show(document, lambda: _text(document))


def _text(document: CapabilitiesDocument) -> str:
    rows = [("yes" if each.there else "no", each.name, each.meaning) for each in document.capabilities]
    rows.append(("yes" if document.guest_agent else "no", "guest-agent", "ask an agent in the guest for it"))
    return f"{document.host}, its snapshots in {document.root}\n{table(('', 'CAPABILITY', 'MEANING'), rows)}"
