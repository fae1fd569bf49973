"""What xl, QEMU and qemu-img said on a real Xen host, replayed on the simulator: no Xen is needed."""

import pytest

from tests.parity import xen_traces


@pytest.mark.parametrize("name", xen_traces.NAMES)
def test_the_simulated_host_answers_as_the_real_one_did(name: str):
    for ours, theirs in xen_traces.replayed(name):
        assert ours == theirs


def test_there_are_traces():
    assert len(xen_traces.NAMES) >= 9
