"""A checkpoint moves to another host, with real images and real memory; and clones of it boot on their own disks.

The guest counts in memory and on its disks and compares: had the two come from different moments, it would say so.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.qemu.conftest import Lab
from xensnap.engine import CreateRequest, DeleteRequest, DiskChoice, Engine, RevertRequest
from xensnap.engine.request import CloneRequest, ExportRequest, ImportRequest
from xensnap.errors import Refused
from xensnap.hypervisor import Then
from xensnap.model import Kind, RunState

KINDS = {
    "internal": CreateRequest("s"),
    "external": CreateRequest("s", kind=Kind.EXTERNAL),
    "mixed": CreateRequest("s", disks={"xvda": DiskChoice(Kind.INTERNAL)}),
}


@pytest.fixture
def there(tmp_path: Path, qemu_system: Path, qemu_img: Path) -> Iterator[Lab]:
    """Another host."""
    (tmp_path / "there").mkdir()
    made = Lab(tmp_path / "there")
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_guest_goes_on_on_another_host_where_it_was(lab: Lab, there: Lab, kind: str) -> None:
    formats = {"xvda": "qcow2", "xvdb": "qcow2" if kind == "internal" else "raw"}
    domain = lab.start(lab.describe(**formats))
    engine = Engine(lab.host)
    before = lab.said(domain)[-1][0]
    engine.create("guest", KINDS[kind])
    description = (lab.directory / "guest.toml").read_text(encoding="utf-8")
    # The guest runs on meanwhile.
    archive = lab.directory / "s.xensnap"
    engine.perform("guest", ExportRequest("s", str(archive)))
    later = lab.heard(domain, reports=20)
    moved = there.directory / "s.xensnap"
    shutil.move(archive, moved)

    with pytest.raises(Refused) as caught:
        Engine(there.host).make(ImportRequest(str(moved), str(there.directory)))
    assert "guest.img" in caught.value.cause
    Engine(there.host).make(
        ImportRequest(str(moved), str(there.directory), configuration=description, config_file="guest.toml")
    )
    assert there.seen(domain).state is RunState.OFF
    Engine(there.host).revert("guest", RevertRequest("s"))

    assert there.seen(domain).state is RunState.RUNNING
    there.heard(domain)
    assert before < there.said(domain)[0][0] < later
    Engine(there.host).create("guest", CreateRequest("next"))
    there.heard(domain)
    Engine(there.host).delete("guest", DeleteRequest("s"))
    Engine(there.host).revert("guest", RevertRequest("next", then=Then.STOPPED))
    for disk in Engine(there.host).view("guest").domain.disks:
        there.check(disk.layer)


@pytest.mark.parametrize("linked", [False, True])
def test_a_clone_boots_on_the_disks_of_its_snapshot_beside_the_first(lab: Lab, linked: bool) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("s", kind=Kind.EXTERNAL, disk_only=True))
    lab.heard(domain)
    engine.make(CloneRequest("guest", "s", "clone", linked=linked))
    clone = lab.run(lab.toolstack.inspect("clone"))
    assert (clone.state, clone.uuid == domain.uuid) == (RunState.OFF, False)
    lab.start(clone.uuid)
    lab.heard(domain)
    told = engine.delete("guest", DeleteRequest("s")).warnings
    assert [reason for reason in told if "used by the domain clone" in reason] if linked else True
    lab.heard(domain)
    lab.heard(clone)
    engine.create("clone", CreateRequest("its-own"))
    lab.heard(clone)
    engine.revert("clone", RevertRequest("its-own", then=Then.STOPPED))
    for disk in engine.view("clone").domain.disks:
        lab.check(disk.layer)


def test_two_guests_go_on_from_one_checkpoint(lab: Lab) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    before = lab.said(domain)[-1][0]
    engine.create("guest", KINDS["internal"])
    archive = str(lab.directory / "s.xensnap")
    engine.perform("guest", ExportRequest("s", archive))
    description = (lab.directory / "guest.toml").read_text(encoding="utf-8")
    request = ImportRequest(
        archive, str(lab.directory), "twin", configuration=description, config_file="guest.toml", new_uuid=True
    )
    engine.make(request)
    twin = lab.run(lab.toolstack.inspect("twin"))
    for name in ("guest", "twin"):
        engine.revert(name, RevertRequest("s"))
    for each in (twin, domain):
        lab.heard(each)
        assert lab.said(each)[0][0] > before
    assert {each.name for each in engine.domains() if each.state is RunState.RUNNING} == {"guest", "twin"}
