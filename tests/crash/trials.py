"""The ways in which an operation of the table can go wrong, as values: `replay("delete", Fails(7, Cut.PARTLY, 5))`.

Each ends in one of the two ends of its operation, told by an error that says the truth, or the replay fails.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from errno import EACCES, EIO, ENOSPC, EROFS
from functools import cache, lru_cache, partial
from itertools import islice, product, starmap

from simulator import CrashPoint, Cut, SimulatedHost, after_engine_crash, crash_points
from simulator.faults.watch import STEPPED
from simulator.plans import LONG_S, Armed, Hindered, Hindrance, heal
from simulator.world import life
from tests.crash import running
from tests.crash.harness import DEATHS, GUEST, MET, SOMETIMES, strange_tags
from tests.crash.table import ROWS, Row
from xensnap.doors import DoorHost
from xensnap.engine.engine import Engine
from xensnap.errors import ExitCode, NotFound, Unknown, XensnapError

ERRNOS = (ENOSPC, EIO, EACCES, EROFS)
CUTS = (Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED)
LEAVING = (ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN)
"""How an operation ends that has left something to be brought to an end."""

LATE_S = 30.0
REFUSING = [each for each in Hindrance if each is not Hindrance.NEVER_RESTS]
"""Who does not play along so that an operation may have to give up."""


class Ready:
    """A row with its world, and what it comes to where nothing goes wrong.

    Attributes:
        points: every world on the way.
        effects: the name of every effect on the way that changes something, by its number.
        begins: the world in which each begins.
        ends: what may be seen in the end.
    """

    def __init__(self, name: str, row: Row, host_kind: type[SimulatedHost]) -> None:
        self.name = name
        self.row = row
        self.judge = self.row.judge
        self.host = self.row.world(host_kind)
        self.ended = self.host.fork()
        with self.ended.recording():
            self.row.does(Engine(self.ended))
        self.points = crash_points(self.ended)
        self.effects = numbered(self.points)
        self.begins = {each.number: each.world for each in self.ended.recorded if each.cut is Cut.BEFORE}
        self.strange = _strange(self.host)
        between = [self.host.fork() for _ in self.row.parts]
        for number, each in enumerate(between, 1):
            for part in self.row.parts[:number]:
                part(Engine(each))
        self._between = between
        self.after = self.judge.look(self.ended)
        self.before = self.judge.look(self.host) if self.judge.both else None
        self.ends = [self.after, *([self.before] if self.judge.both else []), *map(self.judge.look, between)]
        self.after_death = cache(self._after_death)
        self.after_destroy = cache(self._after_destroy)
        self.recovery = lru_cache(maxsize=1)(self._recovery)

    def again(self, host: SimulatedHost) -> SimulatedHost:
        """Whoever worked there has ended, and somebody else comes."""
        return type(host)(after_engine_crash(host.world))

    def died(self, at: int, how: int) -> SimulatedHost:
        """The host after this death."""
        return type(self.host)(DEATHS[how][1](self.points[at].world))

    def _after_death(self, how: int) -> list[object]:
        """What may be seen after a death: after the host's, guests are off, with what they had cached or without."""
        guests = self.host.world.qemus or self.ended.world.qemus
        if not DEATHS[how][0].startswith("host") or not guests:
            return self.ends
        return self.ends + [self.judge.look(type(self.host)(DEATHS[how][1](each.world))) for each in self._worlds()]

    def _after_destroy(self) -> list[object]:
        """What may be seen when a guest without its QEMU was ended by its operator, and all is brought to its end."""
        worlds = [_destroyed(each) for each in self._worlds()]
        for each in worlds:
            self.judge.end(each)  # also what has no journal and is asked for again, such as a start
        return [self.judge.look(each) for each in worlds]

    def _worlds(self) -> list[SimulatedHost]:
        """The ends, and the same with all that the guest had cached written out, as it may do at any time."""
        worlds = [self.host, self.ended, *self._between]
        return worlds + [flushed for each in worlds for flushed in running.flushed(each)]

    def _recovery(self, at: int, how: int) -> tuple[CrashPoint, ...]:
        """Every world on the way of the recovery from this death."""
        host = self.died(at, how)
        with host.recording():
            self.judge.end(host)
        return crash_points(host)

    def over(self, host: SimulatedHost, ends: list[object], where: str) -> None:
        """It is brought to its end, which is one of these, and nothing is left."""
        self.judge.end(host)
        assert self.judge.look(host) in ends, f"between before and after: {where}"
        self.judge.sound(host, where, self.strange)

    def told(self, host: SimulatedHost, error: XensnapError | None, where: str) -> None:
        """The error of an operation says the truth about what is left."""
        left = self.again(host)
        if error is None:
            SOMETIMES["done all the same"] += 1
            if self.judge.both:
                assert self.judge.look(left) == self.after, where
        elif error.exit_code in LEAVING:
            assert error.cause, where
            assert error.remedy, where
        else:
            SOMETIMES["nothing changed"] += 1
            assert error.cause, where
            if self.judge.both:
                assert self.judge.look(left) == self.before, f"{error.cause}: {where}"
        self.over(left, self.ends, where)


@cache
def ready(name: str, *, door: bool = False) -> Ready:
    """Each row is made ready once, for the simulator's own ports or for those of a real Xen host."""
    return Ready(name, ROWS[name], DoorHost if door else SimulatedHost)


def numbered(points: tuple[CrashPoint, ...]) -> dict[int, str]:
    """Every effect that comes about, changes something and may fail: all but letting go of a lock."""
    there = [point for point in points if point.cut is Cut.UNACKNOWLEDGED]  # where it fails by itself, nothing can
    return {point.number: point.effect for point in there if point.effect != "lock.release"}


def _strange(host: SimulatedHost) -> set[tuple[str, str]]:
    try:
        return strange_tags(Engine(host).view(GUEST))
    except NotFound:  # it is still to be made
        return set()


def _destroyed(host: SimulatedHost) -> SimulatedHost:
    """As it is when its operator has ended the guest."""
    world = host.world
    for each in world.xen:
        world = life.destroyed(world, each.domid)
    return type(host)(world)


def _raised(work: Callable[[], object]) -> XensnapError | None:
    try:
        work()
    except XensnapError as error:
        return error
    return None


@dataclass(frozen=True)
class Dies:
    """A death at one world on the way."""

    at: int
    how: int

    def on(self, it: Ready) -> None:
        it.over(it.died(self.at, self.how), it.after_death(self.how), self.where(it))

    def where(self, it: Ready) -> str:
        return f"{self} is {it.points[self.at]!r}, {DEATHS[self.how][0]}"

    @classmethod
    def all(cls, it: Ready) -> Iterator["Dies"]:
        yield from (cls(at, how) for at, how in product(range(len(it.points)), range(len(DEATHS))))


@dataclass(frozen=True)
class DiesAgain:
    """A death, and another one like it while that is recovered from."""

    at: int
    how: int
    second: int

    def on(self, it: Ready) -> None:
        second = it.recovery(self.at, self.how)[self.second]
        where = f"{self}, {Dies(self.at, self.how).where(it)}; then {second!r}"
        it.over(type(it.host)(DEATHS[self.how][1](second.world)), it.after_death(self.how), where)

    @classmethod
    def all(cls, it: Ready) -> Iterator["DiesAgain"]:
        for first in Dies.all(it):
            seconds = range(len(it.recovery(first.at, first.how)))
            yield from (cls(first.at, first.how, second) for second in seconds)


@dataclass(frozen=True)
class FailsAgain:
    """A death, and an effect that fails while that is recovered from."""

    at: int
    how: int
    number: int
    cut: Cut
    errno: int

    def on(self, it: Ready) -> None:
        host = it.died(self.at, self.how)
        host.fail_at(self.number, self.cut, self.errno)
        error = _raised(lambda: it.judge.end(host))
        assert not host.unmet_faults, f"never met: {self}"
        where = f"{self}, {Dies(self.at, self.how).where(it)}; then {error}"
        left = it.again(host)
        if error is not None and it.judge.both:
            SOMETIMES["recovery failed"] += 1
            assert error.cause, where
        it.over(left, it.after_death(self.how), where)

    @classmethod
    def all(cls, it: Ready) -> Iterator["FailsAgain"]:
        for first in Dies.all(it):
            numbers = numbered(it.recovery(first.at, first.how))
            yield from (cls(first.at, first.how, *each) for each in product(numbers, CUTS, ERRNOS))


@dataclass(frozen=True)
class Fails:
    """One effect fails."""

    number: int
    cut: Cut
    errno: int

    def on(self, it: Ready) -> None:
        host = it.host.fork()
        host.fail_at(self.number, self.cut, self.errno)
        error = _raised(lambda: it.row.does(Engine(host)))
        assert not host.unmet_faults, f"never met: {self}"
        MET[it.effects[self.number]] += 1
        it.told(host, error, f"{self} is {it.effects[self.number]}; then {error}")

    @classmethod
    def all(cls, it: Ready) -> Iterator["Fails"]:
        yield from (cls(*each) for each in product(it.effects, CUTS, ERRNOS))


@dataclass(frozen=True)
class TimesOut:
    """Nobody hears any more of one effect."""

    number: int
    cut: Cut

    def on(self, it: Ready) -> None:
        host, name = it.host.fork(), it.effects[self.number]
        host.fail_at(self.number, self.cut, Unknown(f"{name}: no answer within {LONG_S:.0f} s"), late_s=LONG_S)
        error = _raised(lambda: it.row.does(Engine(host)))
        assert not host.unmet_faults, f"never met: {self}"
        MET["TimesOut"] += 1
        it.told(host, error, f"{self} is {name}; then {error}")

    @classmethod
    def all(cls, it: Ready) -> Iterator["TimesOut"]:
        yield from (cls(*each) for each in product(it.effects, CUTS))


@dataclass(frozen=True)
class IsLate:
    """One effect takes its time, and then all is well."""

    number: int

    def on(self, it: Ready) -> None:
        host = it.host.fork()
        host.fail_at(self.number, error=None, late_s=LATE_S)
        it.row.does(Engine(host))
        assert not host.unmet_faults, f"never met: {self}"
        MET["Late"] += 1
        it.told(host, None, f"{self} is {it.effects[self.number]}")

    @classmethod
    def all(cls, it: Ready) -> Iterator["IsLate"]:
        yield from map(cls, it.effects)


@dataclass(frozen=True)
class QemuDies:
    """The QEMU of the guest dies at one effect, and the operation goes on with what there is.

    Some of that can only be brought to an end when the operator has ended the guest, which he is told to do.
    """

    number: int
    cut: Cut

    def on(self, it: Ready) -> None:
        host = it.host.fork()
        met: list[bool] = []
        host.meanwhile(self.number, partial(_loses_qemu, host, met), self.cut)
        error = _raised(lambda: it.row.does(Engine(host)))
        where = f"{self} is {it.effects[self.number]}; then {error}"
        assert met, f"never met: {where}"
        MET["QemuDies"] += 1
        assert error is None or error.cause, where
        left = it.again(host)
        pending = _pending(Engine(left))
        assert pending == (error is not None and error.exit_code in LEAVING), where
        waiting = _raised(lambda: it.judge.end(left))
        assert waiting is None or (pending and waiting.exit_code in LEAVING and waiting.remedy), f"{waiting}: {where}"
        it.over(_destroyed(left), it.after_destroy(), where)

    @classmethod
    def all(cls, it: Ready) -> Iterator["QemuDies"]:
        places: dict[tuple[int, Cut], bool] = {}
        for point in it.ended.recorded:
            begun = point.cut is Cut.BEFORE or (point.effect.startswith(STEPPED) and _at_work(point))
            if point.cut in (Cut.BEFORE, Cut.PARTLY) and point.number in it.effects and begun:
                places.setdefault((point.number, point.cut), bool(point.world.qemus))
        yield from (cls(*place) for place, there in places.items() if there)


def _at_work(point: CrashPoint) -> bool:
    """Whether a child has done its first step."""
    return any(each.counter for each in point.world.agenda)


def _pending(engine: Engine) -> bool:
    """Whether something of any domain waits to be brought to its end."""
    return bool(engine.unborn()) or any(engine.list(domain.uuid).pending for domain in engine.domains())


def _loses_qemu(host: SimulatedHost, met: list[bool]) -> None:
    host.kill_qemu(GUEST)
    met.append(True)


@dataclass(frozen=True)
class IsHindered:
    """From one effect on somebody does not play along, until the operation is over and the world heals."""

    number: int
    what: Hindrance

    def on(self, it: Ready) -> None:
        host = it.host.fork()
        armed = Armed(host)
        host.meanwhile(self.number, lambda: armed.happened(Hindered(self.what, it.effects[self.number])))
        error = _raised(lambda: it.row.does(Engine(host)))
        where = f"{self} is {it.effects[self.number]}; then {error}"
        assert armed.met, f"never met: {where}"
        MET[self.what.name] += 1
        heal(host)
        it.told(host, error, where)

    def can_be(self, it: Ready) -> bool:
        """Whether there is somebody who can refuse, and nobody else has what he would take."""
        armed = Armed(SimulatedHost(it.begins[self.number]))
        armed.happened(Hindered(self.what, it.effects[self.number]))
        return armed.met

    @classmethod
    def all(cls, it: Ready) -> Iterator["IsHindered"]:
        yield from (each for each in starmap(cls, product(it.effects, REFUSING)) if each.can_be(it))


Trial = Dies | DiesAgain | Fails | FailsAgain | TimesOut | IsLate | QemuDies | IsHindered
WAYS: dict[str, type[Trial]] = {
    "dies": Dies,
    "fails": Fails,
    "times out": TimesOut,
    "is late": IsLate,
    "loses QEMU": QemuDies,
    "is hindered": IsHindered,
    "dies again": DiesAgain,
    "fails again": FailsAgain,
}

TWICE = ("dies again", "fails again")
"""Ways of which there are so many that only some are ever tried."""


def replay(name: str, trial: Trial, *, door: bool = False) -> None:
    """Let this go wrong in the operation of a row, and judge what comes of it."""
    trial.on(ready(name, door=door))


def every(it: Ready, way: str) -> Iterator[Trial]:
    """All there are."""
    yield from WAYS[way].all(it)


def some(it: Ready, way: str, *, seed: object = "") -> Iterator[Trial]:
    """A part of all, drawn by the name of the row, so that a run is told by nothing but the table and the seed."""
    draw = random.Random(f"{it.name}, {way}{seed}")

    def fault() -> tuple[Cut, int]:
        return draw.choice(CUTS), draw.choice(ERRNOS)

    match way:
        case "dies":
            yield from (Dies(at, draw.randrange(len(DEATHS))) for at in _few(draw, range(len(it.points)), 3))
        case "fails":
            yield from (Fails(number, *fault()) for number in _few(draw, it.effects, 1))
        case "times out":
            yield from (TimesOut(number, draw.choice(CUTS)) for number in _few(draw, it.effects, 4))
        case "is late":
            yield from map(IsLate, _few(draw, it.effects, 8))
        case "loses QEMU":
            all_of_them = [*QemuDies.all(it)]
            yield from (all_of_them[each] for each in _few(draw, range(len(all_of_them)), 4))
        case "is hindered":
            places = [*product(it.effects, REFUSING)]
            drawn = (IsHindered(*each) for each in draw.sample(places, len(places)))
            yield from islice((each for each in drawn if each.can_be(it)), max(2, len(places) // 24))
        case _:
            for at in _few(draw, range(len(it.points)), 8):
                how = draw.randrange(len(DEATHS))
                points = it.recovery(at, how)
                if points and way == "dies again":
                    yield DiesAgain(at, how, draw.randrange(len(points)))
                elif points:  # else nothing was begun
                    yield FailsAgain(at, how, draw.choice([*numbered(points)]), *fault())


def _few(draw: random.Random, of: Iterable[int], share: int) -> list[int]:
    """Every so many, in no order, and two at least."""
    there = [*of]
    return draw.sample(there, min(len(there), max(2, len(there) // share)))
