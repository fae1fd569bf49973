"""The contract of `Toolstack` for domains that are off."""

import pytest
from msgspec.structs import replace

from xensnap.errors import Damaged, Effect, Failed, NotFound, Refused, Usage
from xensnap.formats import configuration
from xensnap.model import DescribedBy, Disk, DomainUuid, Format, Layer, RunState

NOBODY = DomainUuid("00000000-0000-4000-8000-000000000000")


@pytest.fixture
def toolstack(bench):
    return bench.host.toolstack


@pytest.fixture
def guest(bench):
    disks = {"xvda": bench.image("a.qcow2"), "xvdb": bench.image("b.raw", "raw")}
    return bench.domain("guest", disks)


def test_a_domain_is_told_with_its_disks(bench, toolstack, guest, directory):
    found = bench.run(toolstack.inspect("guest"))
    assert found == guest
    assert (found.state, found.domid, found.described_by) == (RunState.OFF, None, bench.described_by)
    assert [disk.layer for disk in found.disks] == [
        Layer(f"{directory}/a.qcow2", Format.QCOW2),
        Layer(f"{directory}/b.raw", Format.RAW),
    ]


def test_all_domains_are_told_by_name(bench, toolstack, guest):
    bench.domain("another", {})
    bench.domain("7", {})
    assert [domain.name for domain in bench.run(toolstack.domains())] == ["7", "another", "guest"]


def test_a_domain_is_found_by_uuid_and_name(bench, toolstack, guest):
    number = bench.domain("7", {})
    assert bench.run(toolstack.inspect(guest.uuid)) == guest
    assert bench.run(toolstack.inspect("7")) == number


def test_who_looks_for_a_domain_that_is_not_there_learns_which_are(bench, toolstack, guest):
    with pytest.raises(NotFound, match="gest") as caught:
        bench.run(toolstack.inspect("gest"))
    assert caught.value.id == "domain-not-found"
    assert "guest" in caught.value.remedy


def test_a_domain_starts_from_the_layers_it_was_given(bench, toolstack, guest, directory):
    overlay = Layer(f"{directory}/overlay.qcow2", Format.QCOW2)
    bench.run(toolstack.set_layers(guest.uuid, {"xvdb": overlay}))
    after = bench.run(toolstack.inspect(guest.uuid))
    assert [disk.layer for disk in after.disks] == [guest.disks[0].layer, overlay]
    assert (after.name, after.uuid) == (guest.name, guest.uuid)
    bench.run(toolstack.set_layers(guest.uuid, {disk.vdev: disk.layer for disk in guest.disks}))
    assert bench.run(toolstack.inspect(guest.uuid)) == guest


def test_a_layer_may_be_spelled_with_two_slashes(bench, toolstack, guest, directory):
    file = bench.image("spelled.qcow2")
    bench.run(toolstack.set_layers(guest.uuid, {"xvdb": Layer(f"{directory}//spelled.qcow2", Format.QCOW2)}))
    disk = bench.run(toolstack.inspect(guest.uuid)).disk("xvdb")
    assert bench.run(bench.host.files.stat(disk.path)).file == bench.run(bench.host.files.stat(file.path)).file


def test_layers_are_switched_all_or_none(bench, toolstack, guest, directory):
    overlay = Layer(f"{directory}/overlay.qcow2", Format.QCOW2)
    for uuid, vdev, id in ((guest.uuid, "xvdz", "disk-not-found"), (NOBODY, "xvdb", "domain-not-found")):
        with pytest.raises(NotFound) as caught:
            bench.run(toolstack.set_layers(uuid, {"xvda": overlay, vdev: overlay}))
        assert (caught.value.id, caught.value.effect) == (id, Effect.NONE)
        assert bench.run(toolstack.inspect(guest.uuid)) == guest


def new_domain(bench, guest, directory, name="new"):
    """A domain like the guest, on an image of its own, with its configuration."""
    told = bench.run(bench.host.toolstack.configuration(guest.uuid))
    layers = {disk.vdev: Layer(f"{directory}/{name}-{disk.vdev}", Format.QCOW2) for disk in guest.disks}
    text = configuration.renewed(told, uuid=NOBODY, name=name, layers=layers)
    disks = tuple(Disk(vdev, layer.path, layer.format) for vdev, layer in layers.items())
    return replace(guest, uuid=NOBODY, name=name, disks=disks), text


def test_a_domain_that_is_defined_is_known(bench, toolstack, guest, directory):
    domain, text = new_domain(bench, guest, directory)
    before = bench.run(toolstack.domains())
    bench.run(toolstack.require_definable(domain, configuration=text, file=f"{directory}/new.cfg"))
    assert bench.run(toolstack.domains()) == before
    bench.run(toolstack.define(domain, configuration=text, file=f"{directory}/new.cfg"))
    found = bench.run(toolstack.inspect(NOBODY))
    assert (found.uuid, found.name, found.disks, found.state) == (NOBODY, "new", domain.disks, RunState.OFF)
    assert bench.run(toolstack.inspect("new")) == found
    assert bench.run(toolstack.inspect("guest")) == guest
    assert not [name for name in bench.run(bench.host.files.names(directory)) if name.startswith(".")]


def test_no_name_and_no_uuid_is_given_twice(bench, toolstack, guest, directory):
    domain, text = new_domain(bench, guest, directory)
    bench.run(toolstack.define(domain, configuration=text, file=f"{directory}/new.cfg"))
    before = bench.run(toolstack.domains())
    again, same_name = new_domain(bench, guest, directory, "guest")
    for work in (toolstack.require_definable, toolstack.define):
        for other, told in ((domain, text), (again, same_name)):
            with pytest.raises(Refused) as caught:
                bench.run(work(other, configuration=told, file=f"{directory}/other.cfg"))
            assert (caught.value.id, caught.value.effect) == ("domain-exists", Effect.NONE)
        with pytest.raises((Usage, Damaged)):
            bench.run(work(again, configuration="{]", file=f"{directory}/other.cfg"))
    assert bench.run(toolstack.domains()) == before


def test_the_configuration_names_domain_and_disks(bench, toolstack, guest):
    told = bench.run(toolstack.configuration(guest.uuid))
    for word in ("guest", guest.uuid, "xvda", "a.qcow2"):
        assert word in told
    with pytest.raises(NotFound):
        bench.run(toolstack.configuration(NOBODY))


def test_a_domain_has_the_configuration_that_it_was_given_and_its_disks(bench, toolstack, guest):
    before = bench.run(toolstack.configuration(guest.uuid))
    if bench.described_by is DescribedBy.US:  # xl reads no JSON, only files of the host in a form of its own
        told = bench.run(toolstack.described(before, source="FILE"))
        assert (told.name, told.uuid, told.disks) == (guest.name, guest.uuid, guest.disks)
    moved = before.replace("a.qcow2", "another.qcow2").replace(f'"{guest.name}"', '"renamed"')
    bench.run(toolstack.set_configuration(guest.uuid, moved))
    after = bench.run(toolstack.inspect(guest.uuid))
    assert (after.name, after.disks) == ("renamed", guest.disks)
    bench.run(toolstack.set_configuration(guest.uuid, before))
    assert bench.run(toolstack.inspect(guest.uuid)) == guest
    assert bench.run(toolstack.configuration(guest.uuid)) == before
    with pytest.raises(NotFound) as caught:
        bench.run(toolstack.set_configuration(NOBODY, before))
    assert caught.value.effect is Effect.NONE


def test_what_is_no_configuration_is_told_with_its_source(bench, toolstack, guest, directory):
    bad, source = "name = [", f"{directory}/FILE"
    bench.run(bench.host.files.create(source, bad.encode()))
    with pytest.raises((Usage, Failed), match="FILE"):
        bench.run(toolstack.described(bad, source=source))
