"""A guest with UEFI was reverted and did not boot: the boot entries in its firmware were those of afterwards.

The same with a TPM: the disk of then, the keys of now. Nobody had said that they were no part of the snapshot.
Source: virt-manager/virt-manager#851, OpenNebula/one#6408, apache/cloudstack#13547, #13020, utmapp/UTM#3698.
"""

import pytest
from msgspec.structs import replace

from simulator import SimulatedHost
from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.engine import Engine, plan_for
from xensnap.engine.request import CreateRequest, Fresh, RevertRequest

VARIABLES = "/images/guest_VARS.fd"
FRESH = Fresh("0" * 36, 0)
CONFIGURATIONS = {
    "xl.cfg": 'device_model_args_hvm = ["-drive", "if=pflash,format=raw,file=/images/guest_VARS.fd"]\n',
    "libxl's JSON": '{"b_info": {"extra_hvm": ["-drive", "if=pflash,format=raw,file=/images/guest_VARS.fd"]}}',
}
TPM = '{"vtpms": [{"devid": 0, "uuid": "e7b6b4a4-2ae6-4b8b-9a0b-0a5e4ea54bd0"}]}'
CODE_ONLY = 'device_model_args = ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd"]\n'


def story() -> SimulatedHost:
    host = guest("i")
    scribble(host, 0)
    host.run(host.files.create(VARIABLES, b"boot entry: old disk"))
    return host


def test_a_script_brings_back_a_disk_that_the_firmware_does_not_know() -> None:
    host = story()
    assert Naive(host).tag("/images/xvda.qcow2", "before") == ""
    scribble(host, 0)
    host.run(host.files.replace(VARIABLES, b"boot entry: new disk"))
    assert Naive(host).apply("/images/xvda.qcow2", "1") == ""
    assert host.run(host.files.read(VARIABLES)) == b"boot entry: new disk", "and not a word was said"


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_the_engine_says_so_when_it_takes_the_snapshot_and_when_it_goes_back(text: str) -> None:
    host = story()
    view = replace(Engine(host).view(GUEST), configuration=text)
    assert "firmware can be no part" in " ".join(plan_for(view, CreateRequest("before"), FRESH).warnings)
    Engine(host).create(GUEST, CreateRequest("before"))
    view = replace(Engine(host).view(GUEST), configuration=text)
    assert "firmware was no part" in " ".join(plan_for(view, RevertRequest("before"), FRESH).warnings)


def test_a_tpm_is_told_and_firmware_that_nobody_writes_is_not() -> None:
    view = Engine(story()).view(GUEST)
    (warning,) = plan_for(replace(view, configuration=TPM), CreateRequest("before"), FRESH).warnings
    assert "its TPM" in warning
    assert plan_for(replace(view, configuration=CODE_ONLY), CreateRequest("before"), FRESH).warnings == ()
