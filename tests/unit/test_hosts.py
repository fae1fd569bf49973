"""Which host a user means, and that nothing is simulated by surprise."""

import os
import sys
import threading
import types
from pathlib import Path

import pytest

import xensnap
from xensnap import hosts
from xensnap.errors import Busy, Effect, Failed, NotFound, Usage


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A machine without any sign of Xen."""
    monkeypatch.setattr(hosts, "XEN_PLACES", (str(tmp_path / "etc-xen"),))
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


def made(environment) -> hosts.SimulatedPlace:
    """The usual simulated host."""
    from simulator import World

    place = hosts.SimulatedPlace(hosts.usual_place(environment))
    Path(place.directory).mkdir(parents=True)
    with place.locked():
        place.write(World.fresh())
    return place


@pytest.mark.parametrize(
    ("spec", "kind", "directory", "name"),
    [
        ("xen", "xen", "", "xen"),
        ("qemu:/images", "qemu", "/images", "qemu:/images"),
        ("qemu:/images/../other/", "qemu", "/other", "qemu:/other"),
        ("sim:/world", "sim", "/world", "sim:/world"),
        ("sim:/a:b", "sim", "/a:b", "sim:/a:b"),
    ],
)
def test_a_host_is_chosen_by_its_name(spec, kind, directory, name) -> None:
    assert hosts.choose(spec) == hosts.Choice(kind, directory, name)


def test_a_relative_directory_is_made_absolute(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hosts.choose("qemu:here").name == f"qemu:{tmp_path}/here"
    assert hosts.choose("sim:.").directory == str(tmp_path)


@pytest.mark.parametrize("spec", ["", "qemu", "qemu:", "sim:", "xen:", "xen:/x", "kvm", "SIM", "sim /x"])
def test_anything_else_is_no_host(spec) -> None:
    with pytest.raises(Usage) as error:
        hosts.choose(spec)
    assert error.value.id == "bad-host"
    assert "qemu:DIR" in error.value.remedy


def test_the_variable_is_used_where_no_host_is_given(environment) -> None:
    assert hosts.choose(None, environment=environment | {"XENSNAP_HOST": "qemu:/x"}).name == "qemu:/x"
    assert hosts.choose("sim:/y", environment=environment | {"XENSNAP_HOST": "qemu:/x"}).name == "sim:/y"


def test_without_a_host_and_a_simulated_one_there_is_nothing_to_work_on(environment) -> None:
    with pytest.raises(Usage) as error:
        hosts.choose(None, environment=environment)
    assert (error.value.id, error.value.exit_code) == ("no-host", 2)


def test_a_simulated_host_is_the_default_once_it_was_made(environment) -> None:
    place = made(environment)
    assert hosts.choose(None, environment=environment) == hosts.Choice("sim", place.directory, "sim")
    place.path.write_bytes(b"somebody else's")
    with pytest.raises(Usage):
        hosts.choose(None, environment=environment)


def test_a_directory_of_xen_forbids_the_default(environment, tmp_path) -> None:
    made(environment)
    (tmp_path / "etc-xen").mkdir()
    with pytest.raises(Usage) as error:
        hosts.choose(None, environment=environment)
    assert "etc-xen" in error.value.cause
    assert hosts.choose("sim", environment=environment).kind == "sim"


def test_xl_on_the_path_forbids_the_default(environment, tmp_path) -> None:
    made(environment)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "xl").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "xl").chmod(0o755)
    with pytest.raises(Usage):
        hosts.choose(None, environment=environment)


def test_the_usual_place_is_where_states_are_kept(tmp_path) -> None:
    assert hosts.usual_place({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == "/s/xensnap/sim"
    assert hosts.usual_place({"XDG_STATE_HOME": "s", "HOME": "/h"}) == "/h/.local/state/xensnap/sim"
    assert hosts.usual_place({"HOME": "/h"}) == "/h/.local/state/xensnap/sim"


def test_xen_without_xl_says_what_is_missing(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with hosts.open_host("xen") as host, pytest.raises(Failed) as error:
        host.run(host.toolstack.domains())
    assert (host.name, error.value.id, error.value.effect) == ("xen", "no-such-program", Effect.NONE)


@pytest.mark.parametrize("told", [{"root": "/s"}, {"domain_config": "/g.cfg"}])
def test_only_xen_is_told_where_its_store_and_its_domains_are(tmp_path, told) -> None:
    with pytest.raises(Usage) as error, hosts.open_host(f"qemu:{tmp_path}", **told):
        pass
    assert error.value.id == "contradiction"
    with hosts.open_host("xen", root="/s") as host:
        assert host.root == "/s"


def test_a_directory_of_images_is_opened_and_a_missing_one_is_not_found(tmp_path) -> None:
    with hosts.open_host(f"qemu:{tmp_path}") as host:
        assert host.name == f"qemu:{tmp_path}"
    with pytest.raises(NotFound), hosts.open_host(f"qemu:{tmp_path}/nowhere"):
        pass


def test_what_happened_is_kept_even_when_the_command_fails(environment) -> None:
    place = made(environment)
    spec = f"sim:{place.directory}"

    def fails() -> None:
        with hosts.open_host(spec) as host:
            host.run(host.files.mkdir("/images/new"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with hosts.open_host(spec, changes=False) as host:
        assert host.run(host.files.stat("/images/new")) is not None
        host.run(host.files.mkdir("/images/unkept"))
    world = place.read()
    assert "/images/unkept" not in world.fs.dirs
    assert not world.processes, "the process that came for one command is gone with it"


def test_who_changes_a_simulated_host_has_it_alone_and_waits_for_it(environment) -> None:
    place = made(environment)
    spec = f"sim:{place.directory}"
    with hosts.open_host(spec):
        with pytest.raises(Busy) as error, hosts.open_host(spec):
            pass
        assert str(os.getpid()) in error.value.cause
        with hosts.open_host(spec, changes=False) as reader:
            assert reader.name == spec
    lock = place.locked()
    lock.__enter__()
    threading.Timer(0.1, lambda: lock.__exit__(None, None, None)).start()
    with hosts.open_host(spec, wait_s=30):
        pass


def test_the_world_and_its_lock_are_private(environment) -> None:
    place = made(environment)
    assert place.path.stat().st_mode & 0o777 == 0o600
    assert place.lock_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("version", [None, "0.0.0", xensnap.__version__ + "1"])
def test_another_package_named_simulator_is_not_taken_for_ours(monkeypatch, version) -> None:
    foreign = types.ModuleType("simulator")
    foreign.__file__ = "/elsewhere/simulator/__init__.py"
    if version:
        foreign.__xensnap__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "simulator", foreign)
    with pytest.raises(Usage) as error:
        hosts.import_simulator("simulator.persist")
    assert error.value.id == "foreign-simulator"
    assert "/elsewhere/simulator" in error.value.cause
    assert "pip" in error.value.cause


def test_a_simulator_that_cannot_be_imported_is_told(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "simulator", None)
    with pytest.raises(Usage) as error:
        hosts.import_simulator()
    assert error.value.id == "foreign-simulator"
