"""What is stored about domains: what they start from next. How they are doing stands in `incarnations`."""

import re
from collections.abc import Mapping

from immutables import Map

from xensnap.formats.device_disk import device_number
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


def in_xenstore(disk: Disk) -> str:
    """By what disks are in order in xenstore, and wherever it is listed: their numbers as text (Xen 4.17.7)."""
    return str(number_of(disk))


def number_of(disk: Disk) -> int:
    """By what xenstore knows a disk; 0 where its name is none."""
    return device_number(disk.vdev) or 0


def place_of(vdev: str) -> int:
    """Which of a guest's disks this is, from 0; a number that none has where the name does not tell."""
    told = re.fullmatch(r"(?:xvd|hd)([a-z])", vdev)
    return ord(told[1]) - ord("a") if told else _NOWHERE


_NOWHERE = 26


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
