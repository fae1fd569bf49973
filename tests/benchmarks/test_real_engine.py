"""G3, G4: snapshots of real files by the whole engine, and by the bare qemu-img calls of a script."""

from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.images import chain_of, place, tool
from tests.benchmarks.race import Goal, Race, Side, Sides
from xensnap.backends.qemu.host import QemuHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.model import Backing, Format, Kind, Layer

pytestmark = pytest.mark.real

GUEST = "guest"
UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"


def described(directory: Path, paths: list[Path]) -> Engine:
    """The engine on a directory with one domain of these disks."""
    lines = [f'name = "{GUEST}"', f'uuid = "{UUID}"']
    for number, path in enumerate(paths):
        lines += ["[[disk]]", f'vdev = "xvd{chr(ord("a") + number)}"', f'path = "{path}"', 'format = "qcow2"']
    (directory / "guest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Engine(QemuHost(directory))


class Counted:
    """Names that were not used yet."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> str:
        self.number += 1
        return f"n{self.number}"


def external(race: Race, depth: int) -> dict[str, Side]:
    """Ways to lay an overlay on a chain; the engine's own chain grows by one each time, which is part of its work."""
    directory, depth = place(race), race.upto(depth)
    top = str(chain_of(directory, depth))
    new = directory / "new.qcow2"
    host = QemuHost(directory)
    layer = Layer(top, Format.QCOW2)

    def script() -> None:
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", top, str(new))

    def port() -> None:
        new.touch()
        size = host.run(host.images.chain(layer)).images[0].virtual_size_bytes
        overlay = host.images.create_overlay(str(new), backing=Backing(top, top, Format.QCOW2), size_bytes=size)
        host.run(overlay)

    own = place(race)
    engine = described(own, [chain_of(own, depth)])
    fresh = Counted()

    def whole() -> None:
        engine.create(GUEST, CreateRequest(fresh(), kind=Kind.EXTERNAL))

    remove = partial(new.unlink, missing_ok=True)
    return {
        "qemu-img create -b": Side(script, after=remove),
        "chain read, overlay made": Side(port, after=remove),
        "engine": Side(whole),
    }


EXTERNAL = ("qemu-img create -b", "chain read, overlay made", "engine")


@pytest.mark.parametrize("side", EXTERNAL)
@pytest.mark.parametrize("depth", [1, 100, 500])
def test_external_create(race: Race, qemu_img, depth: int, side: str) -> None:
    goals = []
    if depth == 500:
        goals = [
            Goal("G3", "overlay on a chain of 500, without the engine", EXTERNAL[0], EXTERNAL[1], at_least=60),
            Goal("G3", "the same by the whole engine", EXTERNAL[0], EXTERNAL[2], at_least=60),
        ]
    rounds = {1: 15, 100: 9, 500: 5}[depth]
    race(f"external create on a chain of {depth}", lambda: external(race, depth), rounds=rounds, goals=tuple(goals))


@pytest.mark.parametrize("side", ["overlay, depth 1", "overlay, depth 500", "engine, depth 1", "engine, depth 500"])
def test_growth_of_external_create(race: Race, qemu_img, side: str) -> None:
    def sides() -> Sides:
        made = {}
        for depth in (1, 500):
            all_sides = external(race, depth)
            made[f"overlay, depth {depth}"] = all_sides[EXTERNAL[1]]
            made[f"engine, depth {depth}"] = all_sides[EXTERNAL[2]]
        return made

    goals = (
        Goal("G3", "depth 500 against 1, without the engine", "overlay, depth 500", "overlay, depth 1", at_most=1.5),
        Goal("G3", "depth 500 against 1, whole engine", "engine, depth 500", "engine, depth 1", at_most=1.5),
    )
    race("external create: growth with depth", sides, rounds=9, goals=goals)


AT_MOST = {1: 1.35, 4: 0.70, 16: 0.60}


@pytest.mark.parametrize("side", ["qemu-img, one after the other", "engine"])
@pytest.mark.parametrize("disks", [1, 4, 16])
def test_internal_create(race: Race, qemu_img, disks: int, side: str) -> None:
    def sides() -> Sides:
        plain, own = place(race), place(race)
        paths: dict[Path, list[Path]] = {}
        for directory in (plain, own):
            paths[directory] = [directory / f"d{number:02}.qcow2" for number in range(race.upto(disks))]
            for path in paths[directory]:
                tool("qemu-img", "create", "-q", "-f", "qcow2", str(path), "10G")
        engine = described(own, paths[own])

        def script(how: str) -> None:
            for path in paths[plain]:
                tool("qemu-img", "snapshot", how, "one", str(path))

        return {
            "qemu-img, one after the other": Side(partial(script, "-c"), after=partial(script, "-d")),
            "engine": Side(
                lambda: engine.create(GUEST, CreateRequest("one", kind=Kind.INTERNAL)),
                after=lambda: engine.delete(GUEST, DeleteRequest("one")),
            ),
        }

    goal = Goal(
        "G4", f"whole engine, {disks} disks", "engine", "qemu-img, one after the other", at_most=AT_MOST[disks]
    )  # fmt: skip
    race(f"internal create, {disks} disks, durable", sides, rounds=15 if disks < 16 else 9, goals=(goal,))
