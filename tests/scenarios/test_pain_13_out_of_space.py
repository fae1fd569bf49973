"""The disk of the host ran full half-way, the way back needed space, too, and freeing space needed space as well.

Source: xapi-project/xen-api#2684, oVirt/vdsm#352, rcbops/rpc-openstack#1097, apprell/proxmox-autosnap#24.
"""

import pytest

from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import Refused


def test_a_script_finds_out_at_the_second_disk() -> None:
    host = guest("ii")
    scribble(host, 0)
    host.set_capacity(free_bytes=65536)
    words = [Naive(host).tag(f"/images/{vdev}.qcow2", "nightly") for vdev in ("xvda", "xvdb")]
    assert words[0] == ""
    assert "No space left" in words[1]


def test_the_engine_says_so_beforehand_with_the_numbers() -> None:
    host = guest("ii")
    scribble(host, 0)
    host.set_capacity(free_bytes=2 * 65536)
    with pytest.raises(Refused, match="bytes free, and up to 2097216 are needed") as refused:
        Engine(host).create(GUEST, CreateRequest("nightly"))
    assert refused.value.id == "no-space"
    assert not any(image.snapshots for image in Engine(host).view(GUEST).images.values() if image)
