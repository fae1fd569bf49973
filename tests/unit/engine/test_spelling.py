"""One file has one name for a planner, whoever calls it what: also what only the trash or a record let go of names."""

import pytest
from msgspec.structs import replace

from tests.crash.harness import GUEST, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, ForgetRequest
from xensnap.engine.spelling import one_name_each
from xensnap.engine.trash import needed_by_trash
from xensnap.engine.view import View
from xensnap.model import Layer, Snapshot


def elsewhere(snapshot: Snapshot) -> Snapshot:
    """The same snapshot, whose images were called otherwise when it was taken."""
    disks = (replace(disk, image=Layer(f"/link{disk.image.path}", disk.image.format)) for disk in snapshot.disks)
    return replace(snapshot, disks=tuple(disks))


def called_otherwise(view: View) -> View:
    """The view in which what is in the trash, or was let go, names its images through a link."""
    odd = {
        f"/link{path}": replace(image, layer=Layer(f"/link{path}", image.layer.format)) if image else None
        for path, image in view.images.items()
    }
    return replace(
        view,
        images={**view.images, **odd},
        trashed={name: replace(each, snapshot=elsewhere(each.snapshot)) for name, each in view.trashed.items()},
        state=replace(view.state, let_go=tuple(map(elsewhere, view.state.let_go))),
    )


@pytest.mark.parametrize(
    "request_", [ForgetRequest("old"), DeleteRequest("old", metadata_only=True)], ids=["trash", "let-go"]
)
@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
def test_what_only_the_trash_names_is_called_as_everywhere(request_, kinds: str) -> None:
    host = guest(kinds)
    engine = Engine(host)
    for place, name in enumerate(("old", "new")):
        scribble(host, place)
        engine.create(GUEST, CreateRequest(name))
    engine.perform(GUEST, request_)
    view = engine.view(GUEST)
    known = one_name_each(called_otherwise(view))
    files = [image.file for image in known.images.values() if image]
    assert len(files) == len(set(files)) == len(view.images)
    gone = [*known.state.let_go, *(each.snapshot for each in known.trashed.values())]
    assert [snapshot.name for snapshot in gone] == ["old"]
    for disk in gone[0].disks:
        assert known.images[disk.image.path]
    assert all(disk.path in known.images for disk in known.domain.disks)
    for thrown in known.trashed.values():
        assert all(needed_by_trash(known, [disk.image.path]) for disk in thrown.snapshot.disks)
