"""`sim crash`: let a command die in the middle, so that `recover` has something to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import click

from xensnap import hosts
from xensnap.cli.command import Verb
from xensnap.cli.documents.simulated import SimCrashDocument
from xensnap.cli.output import clean
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_place import place_of
from xensnap.engine.engine import Engine
from xensnap.errors import Usage

if TYPE_CHECKING:
    from xensnap.hosts import CrashPoint, SimulatedHost

VERBS = ("create", "revert", "delete", "export", "import", "clone", "apply")


class Dying(Session):
    """A run of the command line whose engine dies at an effect, and so tells nobody anything."""

    def __init__(self, session: Session, *, at: int) -> None:
        self.host_spec = session.chosen_host
        self.asked_wait_s = session.wait_s
        self.at = at
        self.point: CrashPoint | None = None

    @contextmanager
    def engine(self, *, changes: bool) -> Iterator[Engine]:
        """The engine on the simulated host. What is saved is the world as it was when the engine died."""
        choice, place = place_of(self)
        simulator = hosts.import_simulator()
        with place.locked(wait_s=self.wait_s if changes else 0.0):
            host: SimulatedHost = simulator.SimulatedHost(place.read())
            host.name = choice.name
            with host.recording():
                yield Engine(host)
            points: tuple[CrashPoint, ...] = simulator.crash_points(host)
            self.point = next((point for point in points if point.number >= self.at), None)
            if self.point is not None:
                place.write(simulator.after_engine_crash(self.point.world))

    def show(self, *_: object) -> None:
        """Nothing: it is dead."""

    def warn(self, text: str) -> None:
        """As `show`."""


@click.command(
    "crash",
    cls=Verb,
    short_help="Let a command die in the middle, for `recover` to do something.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--at", type=click.IntRange(min=1), required=True, metavar="EFFECT", help="The effect to die at.")
@click.argument("name", type=click.Choice(VERBS), metavar="|".join(VERBS))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[WORDS]...")
@verb
@changing
@click.pass_context
def crash(context: click.Context, session: Session, at: int, name: str, words: tuple[str, ...]) -> None:
    """Do what the WORDS say, and die at the EFFECT-th effect: `xensnap recover` then brings it to its end."""
    dying = Dying(session, at=at)
    module = "import_archive" if name == "import" else name
    asked: click.Command = import_module(f"xensnap.cli.{module}").command
    with asked.make_context(name, list(words), parent=context, obj=dying) as inner:
        asked.invoke(inner)
    point = dying.point
    if point is None:
        cause = f"this has no effect {at} that changes anything, so nobody died and nothing was done"
        raise Usage(cause, id="no-such-effect", remedy="Give a smaller number.")
    session.host_name = dying.host_name
    session.show(
        SimCrashDocument(dying.host_name, point.number, point.effect, point.cut.value, point.subject),
        lambda: clean(f"died at effect {point.number}, {point.cut} {point.effect} {point.subject}"),
    )
