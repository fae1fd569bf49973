"""G7, G8, G9: the engine on the simulated host, the simulated host alone, and how both grow."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pyfakefs.fake_filesystem import FakeFileOpen, FakeFilesystem, FakeOsModule

from simulator import SimulatedHost
from tests.benchmarks.libvirt import Libvirt
from tests.benchmarks.race import Goal, Race, Side, Sides
from tests.crash.harness import CLUSTER, GUEST, guest
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.model import Layer

DISKS = "iiii"
ENGINE, ALONE, LIBVIRT = "engine, 4 disks", "simulator alone, 4 disks", "libvirt test driver, no disks"
SIDES = pytest.mark.parametrize("side", [ENGINE, ALONE, LIBVIRT])


def with_snapshots(count: int, kinds: str = DISKS) -> Engine:
    """A guest with so many snapshots, one after the other."""
    engine = Engine(guest(kinds))
    for number in range(count):
        engine.create(GUEST, CreateRequest(f"s{number}"))
    return engine


class Alone:
    """The simulated host without any engine: images, and what qemu-img does to them."""

    def __init__(self, snapshots: int, **image: Any) -> None:
        self.host = SimulatedHost.fresh()
        self.layers = [self.host.create_image(f"/images/d{number}.qcow2", **image) for number in range(4)]
        self._tags = 0
        for _ in range(snapshots):
            self.create()

    def each(self, do: Callable[[Layer], Any], layers: Iterable[Layer] | None = None) -> None:
        """Do this to every disk."""
        for layer in self.layers if layers is None else layers:
            self.host.run(do(layer))

    def create(self) -> None:
        """A snapshot of every disk."""
        self._tags += 1
        self.each(lambda layer: self.host.images.snapshot_create(layer, tag=f"s{self._tags}"))

    def revert(self) -> None:
        """Every disk as it was at its third snapshot."""
        self.each(lambda layer: self.host.images.snapshot_apply(layer, snapshot_id="3"))

    def inspect(self) -> None:
        """Look at every disk."""
        self.each(self.host.images.inspect)


def three(race: Race, count: int, verb: str, times: int) -> Sides:
    """The same verb of all three."""
    count = race.upto(count)
    engine, alone, libvirt = with_snapshots(count), Alone(count), Libvirt(race)
    libvirt("create", count + 4)
    names = iter(range(1_000_000))
    verbs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "create": (lambda: engine.create(GUEST, CreateRequest(f"new{next(names)}")), alone.create),
        "revert": (lambda: engine.revert(GUEST, RevertRequest("s3")), alone.revert),
        "list": (lambda: engine.list(GUEST), alone.inspect),
    }
    ours, bare = verbs[verb]
    return {
        ENGINE: Side(ours),
        ALONE: Side(bare, times=times),
        LIBVIRT: Side(lambda: libvirt(verb, times), clocked=True),
    }


@SIDES
@pytest.mark.parametrize("count", [10, 100])
def test_create(race: Race, count: int, side: str) -> None:
    goals = (
        Goal("G7", f"create, {count} snapshots", ENGINE, LIBVIRT, at_most=1.5),
        Goal("G8", f"create, {count} snapshots", LIBVIRT, ALONE, at_least=20),
    )
    race(f"simulated: create with {count} snapshots", lambda: three(race, count, "create", 3), goals=goals)


@SIDES
@pytest.mark.parametrize("count", [10, 100])
def test_revert(race: Race, count: int, side: str) -> None:
    goals = (
        Goal("G7", f"revert, {count} snapshots", ENGINE, LIBVIRT, at_most=1),
        Goal("G8", f"revert, {count} snapshots", LIBVIRT, ALONE, at_least=50),
    )
    race(f"simulated: revert with {count} snapshots", lambda: three(race, count, "revert", 3), goals=goals)


@SIDES
@pytest.mark.parametrize("count", [10, 100])
def test_list(race: Race, count: int, side: str) -> None:
    goals = (Goal("G7", f"list, {count} snapshots", LIBVIRT, ENGINE, at_least=4),)
    race(f"simulated: list {count} snapshots", lambda: three(race, count, "list", 3), goals=goals)


@pytest.mark.parametrize("side", ["create, 10", "create, 100", "list, 10", "list, 100"])
def test_growth_of_the_engine(race: Race, side: str) -> None:
    def sides() -> Sides:
        few, many = with_snapshots(race.upto(10)), with_snapshots(race.upto(100))
        made = {}
        for name, engine in (("10", few), ("100", many)):
            # Forks, so that the number of snapshots stays what it is.
            made[f"create, {name}"] = Side(
                lambda engine=engine: Engine(engine.host.fork()).create(GUEST, CreateRequest("new"))  # type: ignore[misc]
            )
            made[f"list, {name}"] = Side(lambda engine=engine: engine.list(GUEST))  # type: ignore[misc]
        return made

    goals = (
        Goal("G7", "create, growth with snapshots", "create, 100", "create, 10", at_most=0.1, scale=10),
        Goal("G2", "list, growth with snapshots", "list, 100", "list, 10", at_most=1.05, scale=10),
    )
    race("engine, simulated: growth with snapshots", sides, goals=goals)


@pytest.mark.parametrize("side", ["simulator", "pyfakefs"])
@pytest.mark.parametrize("what", ["write", "read", "replace"])
def test_files(race: Race, what: str, side: str) -> None:
    def sides() -> Sides:
        host = SimulatedHost.fresh()
        files, run = host.files, host.run
        host.make_directory("/d")
        run(files.replace("/d/read", b"x" * 200))
        fake = FakeFilesystem()
        fake.create_dir("/d")
        fake.create_file("/d/read", contents="x" * 200)
        fopen, fos = FakeFileOpen(fake), FakeOsModule(fake)

        def fake_write() -> None:
            with fopen("/d/write", "wb") as file:
                file.write(b"y" * 200)

        def fake_read() -> None:
            with fopen("/d/read", "rb") as file:
                file.read()

        def fake_replace() -> None:
            with fopen("/d/new", "wb") as file:
                file.write(b"y" * 200)
            fos.rename("/d/new", "/d/old")

        ours: dict[str, Callable[[], Any]] = {
            "write": lambda: run(files.append("/d/write", b"y" * 200)),
            "read": lambda: run(files.read("/d/read")),
            "replace": lambda: run(files.replace("/d/old", b"y" * 200)),
        }
        theirs = {"write": fake_write, "read": fake_read, "replace": fake_replace}
        return {"simulator": Side(ours[what], times=20), "pyfakefs": Side(theirs[what], times=20)}

    goal = Goal("G8", f"files: {what}", "pyfakefs", "simulator", at_least=50)
    race(f"simulated files: {what}", sides, goals=(goal,))


def grown(**sizes: int) -> dict[str, Callable[[], Any]]:
    """What is done to a simulated image of some size, with so many snapshots and clusters, at some depth."""
    host = SimulatedHost.fresh()
    size_bytes, depth = sizes.get("size_bytes", 1 << 34), sizes.get("depth", 1)
    layer = host.create_image("/images/c0.qcow2", size_bytes=size_bytes)
    clusters = sizes.get("clusters", 8)
    host.write_layer(layer, 0, clusters * CLUSTER)
    for number in range(1, depth):
        layer = host.create_image(f"/images/c{number}.qcow2", size_bytes=size_bytes, backing=layer)
    for number in range(sizes.get("snapshots", 3)):
        host.run(host.images.snapshot_create(layer, tag=f"s{number}"))
    places = iter(range(1 << 30))

    def snapshot() -> None:
        forked = host.fork()
        forked.run(forked.images.snapshot_create(layer, tag="new"))

    def revert() -> None:
        forked = host.fork()
        forked.run(forked.images.snapshot_apply(layer, snapshot_id="2"))

    return {
        "snapshot": snapshot,
        "write": lambda: host.write_layer(layer, next(places) % clusters * CLUSTER, CLUSTER),
        "read": lambda: host.read_layer(layer, next(places) % clusters * CLUSTER, CLUSTER),
        "revert": revert,
    }


GROWTH: dict[str, tuple[dict[str, int], dict[str, int], float]] = {
    "snapshots": ({"snapshots": 10}, {"snapshots": 1000}, 100),
    "depth": ({"depth": 2}, {"depth": 200}, 100),
    "virtual size": ({"size_bytes": 1 << 20}, {"size_bytes": 1 << 40}, 1 << 20),
    "clusters": ({"clusters": 1000}, {"clusters": 100_000}, 100),
}
EXPONENTS = {"snapshot": 0.10, "write": 0.10, "read": 0.10, "revert": 0.30}


@pytest.mark.parametrize("side", [f"{verb}, {size}" for verb in EXPONENTS for size in ("little", "much")])
@pytest.mark.parametrize("kind", GROWTH)
def test_growth_of_the_simulator(race: Race, kind: str, side: str) -> None:
    little, much, scale = GROWTH[kind]

    def sides() -> Sides:
        most = {name: min(value, 1 << 30) if race.smoke else value for name, value in much.items()}
        if race.smoke and kind != "virtual size":
            most = little
        return {
            f"{verb}, {size}": Side(do, times=10)
            for size, given in (("little", little), ("much", most))
            for verb, do in grown(**given).items()
        }

    goals = tuple(
        Goal(
            "G9",
            f"{verb}, growth with {kind}",
            f"{verb}, much",
            f"{verb}, little",
            at_most=0.35 if kind == "clusters" else most,
            scale=scale,
        )
        for verb, most in EXPONENTS.items()
    )
    race(f"simulator: growth with {kind}", sides, goals=goals)
