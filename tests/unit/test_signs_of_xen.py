"""Any sign of Xen on a machine forbids the simulator as a default. The machines are fake file systems."""

import pytest

from xensnap import hosts
from xensnap.errors import Usage

HOME = {"HOME": "/op", "PATH": "/usr/sbin:/usr/bin"}


@pytest.fixture
def simulated_by_default(fs):
    """A machine whose operator has once made a simulated host, and that is no Xen host."""
    place = hosts.SimulatedPlace(hosts.usual_place(HOME))
    fs.create_file(str(place.path), contents="xensnap simulated world")
    assert hosts.choose(None, environment=HOME).kind == "sim"
    return fs


@pytest.mark.parametrize("sign", ["/proc/xen/capabilities", "/etc/xen/guest.cfg", "/usr/sbin/xl"])
def test_a_machine_with_a_sign_of_xen_has_no_default(simulated_by_default, sign) -> None:
    simulated_by_default.create_file(sign, st_mode=0o100755)
    with pytest.raises(Usage) as caught:
        hosts.choose(None, environment=HOME)
    assert hosts.sign_of_xen(HOME) in sign
    assert "--host" in caught.value.remedy


def test_a_dangling_link_is_a_sign_too(simulated_by_default) -> None:
    simulated_by_default.create_symlink("/etc/xen", "/gone")
    with pytest.raises(Usage):
        hosts.choose(None, environment=HOME)


@pytest.mark.usefixtures("simulated_by_default")
def test_the_simulator_is_still_to_be_had_by_name(fs) -> None:
    fs.create_dir("/proc/xen")
    assert hosts.choose("sim", environment=HOME).kind == "sim"
