"""What is imported when: nobody waits for what the command does not use."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"asyncio", "rich", "simulator", "tomlkit", "qemu.qmp"}


def loaded(*words: str, **environment: str) -> tuple[int, set[str]]:
    code = (
        "import json, sys\n"
        "from xensnap.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    print(json.dumps([end.code, list(sys.modules)]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    status, modules = json.loads(done.stderr.splitlines()[-1])
    return status, set(modules)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["nonsense"]], ids=" ".join)
def test_what_shows_no_host_loads_no_host_and_no_engine(words) -> None:
    _, modules = loaded(*words)
    assert not modules & (HEAVY | {"xensnap.engine", "xensnap.backends", "xensnap.hypervisor"})


@pytest.mark.parametrize("words", [["--version"], ["--help"]], ids=" ".join)
def test_what_prints_no_document_loads_no_documents(words) -> None:
    _, modules = loaded(*words)
    assert not modules & {"msgspec", "xensnap.cli.output", "xensnap.cli.documents"}


@pytest.mark.parametrize("verb", ["list", "tree", "current"])
def test_what_only_reads_records_loads_no_event_loop_and_nothing_that_plans_or_acts(qemu, verb) -> None:
    qemu.ok("create", "guest1", "-n", "one")
    status, modules = loaded(verb, "guest1", XENSNAP_HOST=qemu.host)
    assert status == 0
    assert not modules & (HEAVY | {"xensnap.engine.engine", "xensnap.engine.plan", "xensnap.engine.view"})


def test_a_simulated_host_needs_no_event_loop_and_no_colours(sim) -> None:
    status, modules = loaded("create", "guest1", XENSNAP_HOST=sim.host)
    assert status == 0
    assert not modules & (HEAVY - {"simulator"})
