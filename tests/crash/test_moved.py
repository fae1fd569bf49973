"""An operator gives a domain another image to start from in the middle of a create, or takes ours away: that stands."""

from simulator import SimulatedHost
from simulator.faults.damage import StartFrom, damaged
from tests.crash.harness import CLUSTER, GUEST, every_crash, every_effect, guest, scribble, truth
from tests.crash.running import UUID
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import XensnapError
from xensnap.hypervisor import drive
from xensnap.model import Format, Layer

OTHER = Layer("/images/other.raw", Format.RAW)
SWITCH = "toolstack.set-layers"


def create(engine: Engine) -> str:
    """How it ends; what it leaves open is recovered."""
    try:
        engine.create(GUEST, CreateRequest("more"))
    except XensnapError as error:
        engine.recover(GUEST)
        return error.id
    return ""


def ready() -> SimulatedHost:
    host = guest("e")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("first"))
    host.create_image(OTHER.path, OTHER.format, 4 * CLUSTER)
    return host


def before_the_switch(host: SimulatedHost) -> int:
    """The last effect before the domain is given its new overlay."""
    points = list(every_crash(host, create))
    switch = next(point.number for point in points if point.effect == SWITCH)
    return max(point.number for point in points if point.number < switch)


def test_the_image_that_an_operator_gives_a_domain_meanwhile_stays_its_own() -> None:
    lost: list[int] = []
    host = ready()
    for number in every_effect(host, create):
        busy = host.fork()

        def gives(busy: SimulatedHost = busy) -> None:
            busy.cell.world = damaged(busy.world, StartFrom(UUID, "xvda", OTHER))

        busy.meanwhile(number, gives)
        create(Engine(busy))
        chain = Engine(busy).view(GUEST).chain("xvda")
        if OTHER.path not in {image.layer.path for image in chain or ()}:
            lost.append(number)
    assert len(lost) <= 1, "nothing can be between the last look and the effect but that very effect"


def test_a_domain_is_not_let_start_from_an_overlay_that_was_removed_meanwhile() -> None:
    host = ready()
    there = set(host.world.fs.names("/images"))
    before = truth(host)
    busy = host.fork()

    def removes() -> None:
        (overlay,) = [name for name in busy.world.fs.names("/images") if name not in there]
        drive(busy.another().files.remove(f"/images/{overlay}"))

    busy.meanwhile(before_the_switch(host), removes)
    assert create(Engine(busy)) == "image-missing"
    assert truth(busy) == before
