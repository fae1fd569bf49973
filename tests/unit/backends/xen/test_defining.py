"""A new domain on a Xen host: remembered, since xl forgets what is off, with a file from which xl starts it."""

import json
from pathlib import Path

import pytest

from simulator.xen import configurations
from tests.unit.backends.xen.scripted import UUID, ScriptedXen, config, disk
from xensnap.backends.xen import xl_cfg as files_for_xl
from xensnap.errors import FileFailed, Refused
from xensnap.formats import xl_cfg
from xensnap.model import Disk, Domain, DomainUuid, Format, GuestKind, RunState

NEW = DomainUuid("11111111-2222-4333-8444-555555555555")


@pytest.fixture
def xen(tmp_path: Path) -> ScriptedXen:
    return ScriptedXen(tmp_path)


def new(xen: ScriptedXen, name: str = "new") -> tuple[Domain, str, str]:
    """A domain, its configuration, and where its file goes."""
    path = xen.image("new.qcow2")
    told = config(name, NEW, "pvh", [disk("xvda", path)])
    domain = Domain(NEW, name, RunState.OFF, (Disk("xvda", path, Format.QCOW2),), kind=GuestKind.PVH)
    return domain, json.dumps(told), str(xen.place / "images" / f"{name}.cfg")


def test_it_is_known_while_it_is_off_and_its_file_says_the_same(xen: ScriptedXen) -> None:
    domain, text, file = new(xen)
    xen.host.run(xen.host.toolstack.define(domain, configuration=text, file=file))
    found = xen.host.run(xen.host.toolstack.inspect("new"))
    assert (found.uuid, found.state, found.disks, found.kind) == (NEW, RunState.OFF, domain.disks, GuestKind.PVH)
    written = xl_cfg.parse(Path(file).read_text(), source=file)
    assert (written.string("name"), written.string("uuid"), written.string("type")) == ("new", NEW, "pvh")
    assert Path(file).stat().st_mode & 0o777 == 0o600


def test_a_death_between_its_file_and_its_description_is_made_good(xen: ScriptedXen) -> None:
    domain, text, file = new(xen)
    xen.host.run(xen.host.toolstack.define(domain, configuration=text, file=file))
    (xen.place / "store" / NEW / "description.json").unlink()
    xen.host.run(xen.host.toolstack.define(domain, configuration=text, file=file))
    assert xen.host.run(xen.host.toolstack.inspect(NEW)).name == "new"


def test_neither_a_domain_nor_a_file_is_written_over(xen: ScriptedXen) -> None:
    xen.add("guest", xvda="a.qcow2")
    domain, text, file = new(xen, "guest")
    with pytest.raises(Refused) as refused:
        xen.host.run(xen.host.toolstack.define(domain, configuration=text, file=file))
    assert refused.value.id == "domain-exists"
    domain, text, file = new(xen)
    Path(file).write_text("the operator's")
    with pytest.raises(FileFailed):
        xen.host.run(xen.host.toolstack.define(domain, configuration=text, file=file))
    assert Path(file).read_text() == "the operator's"
    assert [each.uuid for each in xen.host.run(xen.host.toolstack.domains())] == [UUID]


@pytest.mark.parametrize("kind", ["none", "cirrus", "std", "qxl"])
def test_the_file_of_an_hvm_guest_names_its_graphics_in_words_that_xl_takes(kind: str) -> None:
    told = config("new", NEW, "hvm")
    told["b_info"]["type.hvm"] = {"vga": {"kind": kind}, "vnc": {"enable": "False"}}
    text = files_for_xl.write(told).decode()
    assert configurations.refusal(text, source="new.cfg") == ""
    seen = configurations.as_read(text, NEW, source="new.cfg")["b_info"]["type.hvm"]
    assert (seen["vga"], seen["vnc"]) == ({"kind": kind}, {"enable": "False"})
