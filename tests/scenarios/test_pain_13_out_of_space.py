"""The disk of the host ran full half-way, the way back needed space, too, and freeing space needed space as well.

Source: xapi-project/xen-api#2684, oVirt/vdsm#352, rcbops/rpc-openstack#1097, apprell/proxmox-autosnap#24.
"""

import pytest

from tests.scenarios.stage import GUEST, Naive, guest, held, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.errors import Refused, XensnapError


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


def test_where_it_runs_full_all_the_same_there_is_room_for_the_way_back_and_for_making_room() -> None:
    host = guest("ii")
    for name in ("old", "older"):
        scribble(host, 0)
        Engine(host).create(GUEST, CreateRequest(name))
    before = held(host)
    host.meanwhile("qemu-img.snapshot-create", lambda: host.set_capacity(free_bytes=0), nth=2)
    with pytest.raises(XensnapError, match="No space left"):
        Engine(host).create(GUEST, CreateRequest("nightly"))
    assert (Engine(host).list(GUEST).pending, held(host)) == ("", before)
    Engine(host).delete(GUEST, DeleteRequest("older"))
    assert {name for name, _ in held(host)} == {"old"}
