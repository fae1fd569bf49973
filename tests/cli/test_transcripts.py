"""What people read, kept as transcripts: help, errors, lists, trees, plans. Regenerate with XENSNAP_GOLDEN=write."""

import click
import pytest

from xensnap.cli.main import main
from xensnap.cli.tree import nodes, tree_text
from xensnap.model import Consistency, DomainUuid, RunState, Snapshot


def commands(group: click.Group, *path: str) -> list[str]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        found.append(" ".join([*path, name]))
        if isinstance(below, click.Group):
            found += commands(below, *path, name)
    return found


def test_help(shell, golden) -> None:
    golden("help", shell.transcript("--help", *(f"{name} --help" for name in commands(main))))


def test_a_day_with_snapshots(sim, golden) -> None:
    golden(
        "day",
        sim.transcript(
            "list",
            "list guest1",
            "tree guest1",
            "sim write guest1 xvda 0 64k",
            "create guest1 -n before --description freshly-installed",
            "create guest1 -n update -v",
            "sim write guest1 xvda 32k 64k",
            "sim read guest1 xvda",
            "sim read guest1 xvda 16k 32k",
            "revert guest1 before",
            "sim read guest1 xvda",
            "create guest1 -n other",
            "list guest1",
            "list guest1 other -l",
            "list guest1 --name-only",
            "tree guest1",
            "info guest1 before",
            "info guest1",
            "current guest1",
            "delete guest1 before",
            "tree guest1",
            "list",
        ),
    )


def test_plans(sim, golden) -> None:
    sim.ok("create", "guest1", "-n", "before")
    sim.ok("create", "guest1", "-n", "after")
    golden(
        "plans",
        sim.transcript(
            "create guest1 -n new --dry-run",
            "revert guest1 before --dry-run",
            "delete guest1 before --dry-run --children",
        ),
    )


def test_errors(sim, golden) -> None:
    sim.ok("create", "guest1", "-n", "before")
    golden(
        "errors",
        sim.transcript(
            "nonsense",
            "create",
            "create guest1 --type both",
            "create guest1 -n before --exclude xvda --disk xvdz=skip",
            "create snapshot.cfg guest1",
            "revert guest1",
            "revert guest1 nothing",
            "delete guest1 before -n other",
            "list nobody",
            "list nobody --json",
            "--host xen list",
            "--host nonsense list",
            "--xl-exit list nobody",
        ),
    )


def test_errors_without_a_host(shell, golden) -> None:
    golden("no-host", shell.transcript("list", "create guest1", "sim show", "list --json"))


@pytest.mark.parametrize("at", [30, 50])
def test_recovery(sim, golden, at) -> None:
    golden(
        f"recovery-{at}",
        sim.transcript(
            f"sim crash --at {at} create guest1 -n one",
            "list guest1",
            "create guest1 --dry-run",
            "recover",
            "list guest1",
            "recover guest1",
        ),
    )


def test_a_tree_of_many_branches_and_a_cycle_in_its_records_is_drawn(golden) -> None:
    parents = {"a": None, "b": "a", "c": "b", "d": "a", "e": "d", "f": "d", "g": None, "x": "y", "y": "x"}
    told = {
        name: Snapshot(name, DomainUuid(""), "", at, RunState.OFF, Consistency.CLEAN, (), parent=parent)
        for at, (name, parent) in enumerate(parents.items())
    }
    golden("tree", tree_text("guest1", told, "d") + "\n")


def test_a_deep_tree_is_told(golden) -> None:
    told = {
        str(at): Snapshot(str(at), DomainUuid(""), "", at, RunState.OFF, Consistency.CLEAN, (), parent=str(at - 1))
        for at in range(1500)
    }
    assert len(tree_text("guest1", told, "1499").splitlines()) == 1502
    assert [node.depth for node in nodes(told, None)] == list(range(1500))
