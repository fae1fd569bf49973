"""Every `--json` document is what its published schema says, and the reference is made from the same types."""

import json
import os
from pathlib import Path
from typing import Any, get_args

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from tests.cli.conftest import tag_by_hand
from tests.cli.reference import commands_page, configuration_page, errors_page, json_page, man_page
from tests.cli.test_options import put_archive, put_capsule, put_xml
from xensnap.cli.documents.every import Document

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def schemas() -> dict[str, Any]:
    return {each.__struct_config__.tag: msgspec.json.schema(each) for each in get_args(Document)}


SCHEMAS = schemas()

EACH = {
    "xensnap-list/1": ["list", "guest1"],
    "xensnap-domains/1": ["list"],
    "xensnap-tree/1": ["tree", "guest1"],
    "xensnap-current/1": ["current", "guest1"],
    "xensnap-parent/1": ["parent", "guest1"],
    "xensnap-check/1": ["check", "guest1"],
    "xensnap-verify/1": ["verify", "guest1"],
    "xensnap-chain/1": ["chain", "show", "guest1"],
    "xensnap-compact/1": ["chain", "compact", "guest1"],
    "xensnap-relocate/1": ["chain", "relocate", "guest1", "xvda", "/images"],
    "xensnap-capabilities/1": ["capabilities"],
    "xensnap-configuration/1": ["config"],
    "xensnap-explain/1": ["explain", "busy"],
    "xensnap-du/1": ["du", "guest1"],
    "xensnap-diff/1": ["diff", "guest1", "before"],
    "xensnap-info/1": ["info", "guest1"],
    "xensnap-create/1": ["create", "guest1", "-n", "new"],
    "xensnap-config/1": ["create", "guest1", "--print-config", "--memory", "yes"],
    "xensnap-revert/1": ["revert", "guest1", "before"],
    "xensnap-delete/1": ["delete", "guest1", "before"],
    "xensnap-prune/1": ["prune", "guest1", "--keep-last", "1"],
    "xensnap-rename/1": ["rename", "guest1", "before", "then"],
    "xensnap-edit/1": ["describe", "guest1", "before", "second"],
    "xensnap-pin/1": ["pin", "guest1", "before", "--until", "7d"],
    "xensnap-unpin/1": ["unpin", "guest1", "after"],
    "xensnap-redefine/1": ["import-xml", "guest1", "theirs.xml"],
    "xensnap-export/1": ["export", "guest1", "before", "-o", "/images/new.xensnap"],
    "xensnap-import/1": [
        "import",
        "/images/made.xensnap",
        "--directory",
        "/images",
        "--new-uuid",
        "--name",
        "imported",
    ],
    "xensnap-clone/1": ["clone", "guest1", "before", "cloned"],
    "xensnap-xml/1": ["dumpxml", "guest1", "before"],
    "xensnap-apply/1": ["apply", "plan.json"],
    "xensnap-recover/1": ["recover"],
    "xensnap-forget/1": ["forget", "guest1", "before"],
    "xensnap-restore/1": ["trash", "restore", "guest1", "thrown"],
    "xensnap-adopt/1": ["adopt", "guest1", "by-hand"],
    "xensnap-log/1": ["log", "guest1"],
    "xensnap-trash/1": ["trash", "list", "guest1"],
    "xensnap-doctor/1": ["doctor", "--check"],
    "xensnap-domain/1": ["domain", "start", "guest1", "--paused"],
    "xensnap-sim-place/1": ["sim", "path"],
    "xensnap-sim-import/1": ["sim", "import", "--host", "sim:elsewhere", "--from-host", "sim:world"],
    "xensnap-sim-domain/1": ["sim", "domain", "add", "guest2", "--disk", "xvda=1M"],
    "xensnap-sim-write/1": ["sim", "write", "guest1", "xvda", "0", "4k"],
    "xensnap-sim-read/1": ["sim", "read", "guest1", "xvda"],
    "xensnap-sim-image/1": ["sim", "image", "export", "/images/guest1-xvda.qcow2", "out.qcow2"],
    "xensnap-sim-file/1": ["sim", "file", "get", "/images/made.xensnap", "out.xensnap"],
    "xensnap-sim-show/1": ["sim", "show"],
    "xensnap-sim-crash/1": ["sim", "crash", "--json", "--at", "34", "create", "guest1"],
    "xensnap-demo/1": ["demo", "--seed", "1"],
    "xensnap-replay/1": ["replay", "capsule.json"],
    "xensnap-error/1": ["list", "nobody"],
}


def validated(text: str) -> Any:
    """The one document in this text, held to the schema that it names."""
    document = json.loads(text)
    assert next(iter(document)) == "schema"
    jsonschema.Draft202012Validator(SCHEMAS[document["schema"]]).validate(document)
    assert "host" in document
    return document


def test_each_document_has_a_case() -> None:
    assert set(EACH) == set(SCHEMAS)


@pytest.mark.parametrize("schema", EACH)
def test_each_document_is_what_its_schema_says(sim, schema) -> None:
    sim.ok("create", "guest1", "-n", "before", "--description", "first")
    sim.ok("create", "guest1", "-n", "after", "-D", "--exclude", "xvda")
    sim.ok("create", "guest1", "-n", "thrown")
    sim.ok("forget", "guest1", "thrown")
    tag_by_hand(sim, "by-hand")
    sim.ok("pin", "guest1", "after", "--owner", "me")
    put_xml(sim)
    put_capsule(sim)
    put_archive(sim)
    (sim.directory / "plan.json").write_text(sim.ok("create", "guest1", "-n", "x", "--dry-run", "--json"))
    words = EACH[schema]
    document = validated(sim.run(*words, *([] if "--json" in words else ["--json"])).stdout)
    assert document["schema"] == schema


@pytest.mark.parametrize(
    "words",
    [["list", "guest1"], ["tree", "guest1"], ["info", "guest1"], ["current", "guest1"], ["list"], ["create", "guest1"],
     ["recover", "--abort"], ["recover", "guest1", "--abort"], ["sim", "read", "guest1", "nothing"], ["nonsense"]],
    ids=" ".join,
)  # fmt: skip
def test_documents_about_an_interrupted_operation_are_valid_too(sim, words) -> None:
    sim.ok("create", "guest1", "-n", "before")
    sim.ok("sim", "crash", "--at", "50", "delete", "guest1", "before")
    validated(sim.run(*words, "--json").stdout)


def test_a_document_on_real_images_is_valid(qemu) -> None:
    for words in (["create", "guest1", "-n", "one"], ["info", "guest1"], ["list"], ["delete", "guest1", "one"]):
        document = validated(qemu.ok(*words, "--json"))
        assert document["host"] == qemu.host


def test_a_tree_tells_who_comes_from_whom(sim) -> None:
    for name in ("root", "left"):
        sim.ok("create", "guest1", "-n", name)
    sim.ok("revert", "guest1", "root")
    sim.ok("create", "guest1", "-n", "right")
    told = validated(sim.ok("tree", "guest1", "--json"))["snapshots"]
    places = {each["name"]: (each["depth"], each["parent"], sorted(each["children"]), each["current"]) for each in told}
    assert places == {
        "root": (0, None, ["left", "right"], False),
        "left": (1, "root", [], False),
        "right": (1, "root", [], True),
    }


def test_a_plan_is_what_its_schema_says(sim) -> None:
    from xensnap.engine.plan import Plan

    sim.ok("create", "guest1", "-n", "before")
    for words in (["create", "guest1"], ["revert", "guest1", "before"], ["delete", "guest1", "before"]):
        plan = json.loads(sim.ok(*words, "--dry-run", "--json"))
        jsonschema.Draft202012Validator(msgspec.json.schema(Plan)).validate(plan)


MADE = {
    "json.md": json_page,
    "commands.md": commands_page,
    "errors.md": errors_page,
    "configuration.md": configuration_page,
    "../man/xensnap.md": man_page,
}


@pytest.mark.parametrize("name", MADE)
def test_the_reference_is_made_from_the_code(name) -> None:
    path, page = PAGES / name, MADE[name]
    if os.environ.get("XENSNAP_GOLDEN") == "write":
        path.write_text(page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page(), "made by XENSNAP_GOLDEN=write pytest tests/cli/test_json.py"
