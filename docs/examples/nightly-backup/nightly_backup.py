"""A nightly backup against the ports: an external snapshot of each disk, copied away while the guest runs on.

    python nightly_backup.py HOST GUEST INTO [KEEP]        such as: xen db1 /backup 7

A backup is there if its manifest is there; what a night that was cut off has left is taken away by the next one. The
snapshot only freezes the disks for the copy, so all but the last are deleted again.
"""

import json
import sys
import time
from dataclasses import dataclass

from xensnap import hosts
from xensnap.engine import CreateRequest, DeleteRequest, Engine
from xensnap.hypervisor import Hypervisor
from xensnap.model import Backing, DiskSnapshot, Format, Kind, Layer


@dataclass(frozen=True)
class Backup:
    """One night's copies, by disk."""

    night: str
    images: dict[str, str]


class Nightly:
    """Backs one guest up into one directory of its host.

    Args:
        host: any host, through its ports.
        guest: name or UUID.
        into: directory for the copies; made if it is not there.
    """

    def __init__(self, host: Hypervisor, guest: str, into: str) -> None:
        self.host = host
        self.guest = guest
        self.into = into
        self.engine = Engine(host)

    def run(self, keep: int = 7) -> Backup:
        """Tonight's backup. Run twice a night, it is made once."""
        run, files = self.host.run, self.host.files
        run(files.mkdir(self.into))
        self.engine.recover(self.guest)  # of a night that was cut off
        night = time.strftime("night-%Y-%m-%d", time.gmtime(run(self.host.machine.now_ns()) // 10**9))
        for backup in self.backups():
            if backup.night == night:
                return backup
        self._sweep()
        if night not in self.engine.list(self.guest).contents.snapshots:
            self.engine.create(self.guest, CreateRequest(night, kind=Kind.EXTERNAL, disk_only=True))
        snapshot = self.engine.list(self.guest).contents.snapshots[night]
        backup = Backup(night, {disk.vdev: self._copied(disk, night) for disk in snapshot.disks})
        manifest = json.dumps({"night": night, "images": backup.images}).encode()
        run(files.sync_dir(self.into))
        run(files.replace(f"{self.into}/{night}.json", manifest))
        run(files.sync_dir(self.into))
        self._forget_old(keep)
        return backup

    def backups(self) -> list[Backup]:
        """Every backup that is whole, oldest first."""
        names = [name for name in self._names() if name.endswith(".json")]
        return [Backup(**json.loads(self.host.run(self.host.files.read(f"{self.into}/{name}")))) for name in names]

    def _copied(self, disk: DiskSnapshot, night: str) -> str:
        """A copy that stands on nothing: an overlay on the frozen image, filled with all that it shows."""
        run, files, images = self.host.run, self.host.files, self.host.images
        path = f"{self.into}/{night}.{disk.vdev}.qcow2"
        frozen = Backing(disk.image.path, disk.image.path, disk.image.format)
        run(files.create(path))
        run(images.create_overlay(path, backing=frozen, size_bytes=disk.size_bytes))
        run(images.rebase(Layer(path, Format.QCOW2), backing=None, copy=True))
        assert run(images.check(Layer(path, Format.QCOW2))).clean, f"{path} is damaged"
        run(files.sync(path))
        return path

    def _forget_old(self, keep: int) -> None:
        """The manifest goes first, so that there is never one without its images."""
        for backup in self.backups()[:-keep]:
            self.host.run(self.host.files.remove(f"{self.into}/{backup.night}.json"))
            self.host.run(self.host.files.sync_dir(self.into))
        self._sweep()
        ours = [name for name in self.engine.list(self.guest).contents.snapshots if name.startswith("night-")]
        for name in ours[:-1]:
            self.engine.delete(self.guest, DeleteRequest(name))

    def _sweep(self) -> None:
        """Take away copies that no manifest tells of."""
        whole = {path for backup in self.backups() for path in backup.images.values()}
        for name in self._names():
            path = f"{self.into}/{name}"
            if name.endswith(".qcow2") and path not in whole:
                self.host.run(self.host.files.remove(path))

    def _names(self) -> tuple[str, ...]:
        return self.host.run(self.host.files.names(self.into))


def main() -> None:
    """The command."""
    spec, guest, into, *keep = sys.argv[1:]
    with hosts.open_host(spec) as host:
        print(Nightly(host, guest, into).run(*map(int, keep)))


if __name__ == "__main__":
    main()
