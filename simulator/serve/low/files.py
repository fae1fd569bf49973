"""The `Files` of a simulated Xen host: its file system, and the files in which libxl, xl and QEMU keep things."""

from simulator.ports.files import SimulatedFiles
from simulator.ports.roles import effect
from simulator.ports.seat import lifted
from simulator.serve.low import kept
from simulator.world import World
from xensnap.errors import NotFound


class XenFiles(SimulatedFiles):
    """Names and bytes, the kept ones too. Those are read, replaced and removed; nothing else is done to them."""

    async def _content(self, path: str) -> bytes:
        if not kept.is_kept(path):
            return await super()._content(path)
        data = kept.read(await self._seat.look(effect(path, "read"), path), path)
        if data is None:
            raise NotFound(f"{path}: no such file")
        return data

    async def names(self, path: str) -> tuple[str, ...]:
        """As `SimulatedFiles.names`."""
        found = await super().names(path)
        return tuple(sorted({*found, *kept.names(self._seat.world, path)}))

    async def replace(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """As `SimulatedFiles.replace`; a death halfway leaves the sibling, which is a file as any other."""
        if not kept.is_kept(path):
            await super().replace(path, data, mode=mode)
            return

        def changed(world: World) -> tuple[World, None]:
            return kept.written(world, path, data), None

        halves = tuple(lifted(half) for half in self.beside(path, data, mode))
        await self._seat.change(effect(path, "replace"), path, changed, halves)

    async def remove(self, path: str, *, inode: int = 0, generation: int = 0) -> None:
        """As `SimulatedFiles.remove`."""
        if not kept.is_kept(path):
            await super().remove(path, inode=inode, generation=generation)
            return
        if kept.read(self._seat.world, path) is None:
            raise NotFound(f"{path}: no such file")
        await self._seat.change(effect(path, "remove"), path, lambda world: (kept.removed(world, path), None))
