"""Reverts and the configuration of a guest, on real QEMU: memory fits only the machine that it was saved from."""

import pytest

from xensnap.engine import CreateRequest, Engine, RevertRequest
from xensnap.errors import Refused
from xensnap.model import RunState


def test_memory_comes_back_with_its_machine_though_the_description_is_another_by_now(lab) -> None:
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("s"))
    lab.heard(domain)
    description = lab.directory / "guest.toml"
    before = description.read_text(encoding="utf-8")
    lab.run(lab.toolstack.destroy(domain))
    description.write_text(before.replace('"32M"', '"64M"'), encoding="utf-8")
    lab.run(lab.toolstack.create(domain.uuid))
    with pytest.raises(Refused) as caught:
        engine.revert("guest", RevertRequest("s", keep_config=True))
    assert caught.value.id == "configuration-differs"

    plan = engine.revert("guest", RevertRequest("s")).plan
    assert any('memory: "64M" -> "32M"' in text for text in plan.warnings)
    lab.heard(domain)
    assert lab.seen(domain).state is RunState.RUNNING
    assert '"32M"' in description.read_text(encoding="utf-8")

    renamed = description.read_text(encoding="utf-8").replace('name = "guest"', 'name = "renamed"')
    engine.revert("guest", RevertRequest("s", use_config=renamed, config_file="renamed.toml"))
    lab.heard(domain)
    assert engine.list("renamed").domain.uuid == domain.uuid
