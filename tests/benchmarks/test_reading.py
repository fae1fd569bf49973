"""G1, G2: what an image says about itself, read natively, and by `qemu-img info`."""

import json

import pytest

from tests.benchmarks.images import chain_of, image_with_snapshots, place, tool
from tests.benchmarks.race import Goal, Race, Side, Sides
from xensnap.backends.local.reader import read_chain, read_image
from xensnap.model import Format, Layer

pytestmark = pytest.mark.real

OURS, THEIRS = "xensnap", "qemu-img info"


@pytest.mark.parametrize("side", [OURS, THEIRS])
@pytest.mark.parametrize("count", [10, 100, 1000])
def test_inspect(race: Race, qemu_img, count: int, side: str) -> None:
    def sides() -> Sides:
        path = str(image_with_snapshots(place(race) / "disk.qcow2", race.upto(count)))
        layer = Layer(path, Format.QCOW2)

        def asked() -> list[tuple[str, str]]:
            found = json.loads(tool("qemu-img", "info", "--output=json", path))
            return [(entry["id"], entry["name"]) for entry in found["snapshots"]]

        assert [(entry.id, entry.tag) for entry in read_image(layer).snapshots] == asked()
        return {OURS: Side(lambda: read_image(layer), times=10), THEIRS: Side(asked)}

    goal = Goal("G1", f"inspect, {count} snapshots", THEIRS, OURS, at_least=50)
    race(f"inspect an image with {count} snapshots", sides, goals=(goal,))


@pytest.mark.parametrize("side", [OURS, THEIRS])
@pytest.mark.parametrize("depth", [1, 10, 100, 500])
def test_walk_a_chain(race: Race, qemu_img, depth: int, side: str) -> None:
    def sides() -> Sides:
        path = str(chain_of(place(race), race.upto(depth)))
        layer = Layer(path, Format.QCOW2)

        def asked() -> list[str]:
            found = json.loads(tool("qemu-img", "info", "--output=json", "--backing-chain", path))
            return [image["filename"] for image in found]

        assert [image.layer.path for image in read_chain(layer).images] == asked()
        return {OURS: Side(lambda: read_chain(layer), times=5), THEIRS: Side(asked)}

    goal = Goal("G1", f"read a chain, depth {depth}", THEIRS, OURS, at_least=50)
    race(f"read a chain of {depth}", sides, rounds=15 if depth < 500 else 9, goals=(goal,))


@pytest.mark.parametrize("side", ["100 snapshots", "1000 snapshots"])
def test_growth_with_snapshots(race: Race, qemu_img, side: str) -> None:
    def sides() -> Sides:
        directory = place(race)
        layers = {
            count: Layer(str(image_with_snapshots(directory / f"{count}.qcow2", race.upto(count))), Format.QCOW2)
            for count in (100, 1000)
        }
        return {
            f"{count} snapshots": Side(lambda layer=layer: read_image(layer), times=10)  # type: ignore[misc]
            for count, layer in layers.items()
        }

    goal = Goal("G2", "inspect, growth with snapshots", "1000 snapshots", "100 snapshots", at_most=1.05, scale=10)
    race("inspect: growth with snapshots", sides, goals=(goal,))


@pytest.mark.parametrize("side", ["depth 50", "depth 500"])
def test_growth_with_depth(race: Race, qemu_img, side: str) -> None:
    def sides() -> Sides:
        directory = place(race)
        chain_of(directory, 500)
        layers = {depth: Layer(str(directory / f"c{depth - 1:04}.qcow2"), Format.QCOW2) for depth in (50, 500)}
        return {
            f"depth {depth}": Side(lambda layer=layer: read_chain(layer), times=5)  # type: ignore[misc]
            for depth, layer in layers.items()
        }

    goal = Goal("G2", "read a chain, growth with depth", "depth 500", "depth 50", at_most=1.05, scale=10)
    race("read a chain: growth with depth", sides, goals=(goal,))


@pytest.mark.parametrize("side", ["64 MiB", "1 TiB"])
def test_growth_with_size(race: Race, qemu_img, side: str) -> None:
    def sides() -> Sides:
        directory = place(race)
        made = {}
        for name, size in (("64 MiB", "64M"), ("1 TiB", "1T")):
            layer = Layer(str(image_with_snapshots(directory / f"{size}.qcow2", 10, size)), Format.QCOW2)
            made[name] = Side(lambda layer=layer: read_image(layer), times=30)  # type: ignore[misc]
        return made

    goal = Goal("G2", "inspect, growth with the virtual size", "1 TiB", "64 MiB", at_most=0.05, scale=1 << 14)
    race("inspect: growth with the virtual size", sides, goals=(goal,))
