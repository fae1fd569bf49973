"""The block layer of domains that never run: there is none."""

# ruff: noqa: ARG002 -- the port's arguments, of which a refusal needs few

from collections.abc import Sequence

from xensnap.backends.qemu.unsupported import unsupported
from xensnap.hypervisor import Action, Job, Node
from xensnap.model import Domain, Layer


class NoBlocks:
    """The `BlockLayer` port, refusing everything."""

    async def nodes(self, domain: Domain) -> tuple[Node, ...]:
        """See `BlockLayer.nodes`."""
        raise unsupported(f"look into the running QEMU of {domain.name}")

    async def transaction(self, domain: Domain, actions: Sequence[Action]) -> None:
        """See `BlockLayer.transaction`."""
        raise unsupported(f"snapshot the running {domain.name}")

    async def delete_internal(self, domain: Domain, vdev: str, *, tag: str, snapshot_id: str) -> None:
        """See `BlockLayer.delete_internal`."""
        raise unsupported(f"delete a snapshot of the running {domain.name}")

    async def commit(self, domain: Domain, vdev: str, *, top: Layer, base: Layer, job_id: str) -> Job:
        """See `BlockLayer.commit`."""
        raise unsupported(f"merge images of the running {domain.name}")

    async def stream(self, domain: Domain, vdev: str, *, layer: Layer, base: Layer | None, job_id: str) -> Job:
        """See `BlockLayer.stream`."""
        raise unsupported(f"merge images of the running {domain.name}")

    async def flush(self, domain: Domain) -> None:
        """See `BlockLayer.flush`."""
        raise unsupported(f"make the disks of the running {domain.name} durable")

    async def job(self, domain: Domain, job_id: str) -> Job:
        """See `BlockLayer.job`."""
        raise unsupported(f"follow block jobs of {domain.name}")
