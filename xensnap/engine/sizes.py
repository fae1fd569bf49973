"""How much space snapshots take, and how much of it comes back when one goes. Pure."""

from xensnap.engine.view import View
from xensnap.model import Kind


def held_bytes(view: View) -> dict[str, int]:
    """What each snapshot keeps files for: its memory and the images that were frozen for it. Costs no further look."""
    return {
        name: view.memories.get(name, 0)
        + sum(
            image.allocated_bytes
            for disk in snapshot.disks
            if disk.kind is Kind.EXTERNAL and (image := view.images.get(disk.image.path)) is not None
        )
        for name, snapshot in view.snapshots.items()
    }
