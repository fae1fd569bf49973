"""What is stored about domains: what they start from next. How they are doing stands in `incarnations`."""

from collections.abc import Mapping

from immutables import Map

from xensnap.model import Disk, Domain, DomainUuid, Layer, RunState

Domains = Map[str, Domain]
"""Domains by UUID. A configuration is replaced at once and synced, so no crash ever leaves half of one."""


def off(domain: Domain, *, uuid: str = "", name: str = "", disks: tuple[Disk, ...] | None = None) -> Domain:
    """What is stored of a domain: it is off, whatever it does; renamed, under another uuid or with other disks."""
    return Domain(
        DomainUuid(uuid) if uuid else domain.uuid,
        name or domain.name,
        RunState.OFF,
        domain.disks if disks is None else disks,
        described_by=domain.described_by,
        kind=domain.kind,
        memory_bytes=domain.memory_bytes,
        described_in=domain.described_in,
    )


def with_layers(domain: Domain, layers: Mapping[str, Layer]) -> Domain:
    """The domain starting from these active layers. A vdev that it has not is the caller's error."""
    missing = [vdev for vdev in layers if domain.disk(vdev) is None]
    if missing:
        raise KeyError(*missing)
    return off(domain, disks=switched(domain.disks, layers))


def switched(disks: tuple[Disk, ...], layers: Mapping[str, Layer]) -> tuple[Disk, ...]:
    """The disks with these active layers, where they are named."""
    return tuple(_switched(disk, layers[disk.vdev]) if disk.vdev in layers else disk for disk in disks)


def _switched(disk: Disk, layer: Layer) -> Disk:
    return Disk(disk.vdev, layer.path, layer.format, disk.readonly, disk.cdrom, disk.backend)
