"""What all commands share: the global options, the host and the engine, and where output goes."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xensnap.cli import progress
from xensnap.errors import Effect, ExitCode, Failed, Usage, XensnapError

if TYPE_CHECKING:
    from xensnap.cli.configuration import Configuration
    from xensnap.cli.documents.every import Document
    from xensnap.engine.engine import Engine
    from xensnap.engine.plan import Plan
    from xensnap.engine.reading import Reader
    from xensnap.hypervisor import Hypervisor

Command = TypeVar("Command", bound=Callable[..., Any])

WAIT_S = 10.0
"""How long a changing verb waits for a domain that somebody else works on, unless told otherwise."""

WAIT_S_MAX = 86400.0


class Interrupted(XensnapError):
    """Somebody pressed Ctrl-C. The cause says how the operation ended."""

    exit_code = ExitCode.INTERRUPTED
    default_id = "interrupted"


class Stage(Enum):
    """How far a command is, as far as an error has to know that comes from where none was expected."""

    BEFORE = "nothing was changed"
    ACTING = "an operation may have been left half done: `xensnap recover` ends it"
    DONE = "all was done already"


class Session:
    """One run of the command line."""

    host_spec: str | None = None
    host_name: str = ""
    root: str = ""
    domain_config: str = ""
    verbose: bool = False
    debug: bool = False
    xl_exit: bool = False
    json: bool = False
    events: bool = False
    dry_run: bool = False
    accept: tuple[str, ...] = ()
    asked_wait_s: float | None = None
    stage: Stage = Stage.BEFORE
    announced: tuple[str, ...] = ()
    _configuration: "Configuration | None" = None

    @property
    def configuration(self) -> "Configuration":
        """What the configuration files say; read once."""
        if self._configuration is None:
            from xensnap.cli import configuration

            self._configuration = configuration.load()
        return self._configuration

    @property
    def chosen_host(self) -> str | None:
        """The host to work on: by the option, the variable, or a configuration file."""
        from xensnap import hosts

        if self.host_spec is not None or os.environ.get(hosts.VARIABLE):
            return self.host_spec
        return self.configuration.host or None

    @property
    def wait_s(self) -> float:
        """How long a changing verb waits: by the option, a configuration file, or the default."""
        if self.asked_wait_s is None and self.configuration.wait:
            return float(self.configuration.wait_s)
        return WAIT_S if self.asked_wait_s is None else self.asked_wait_s

    def _add_hooks(self, host: "Hypervisor", said: "Configuration") -> None:
        """Let the operator's programs run; of a simulated host there is nothing that they could do."""
        if host.name.partition(":")[0] == "sim":
            return
        from xensnap.backends.local.hooks import Hook, LocalHooks

        host.hooks = LocalHooks(
            [Hook(each.when, each.run, each.deadline_s, each.on_failure, each.domains) for each in said.hook]
        )

    @contextmanager
    def engine(self, *, changes: bool) -> "Iterator[Engine]":
        """The engine on the chosen host; a simulated one is saved when this is left."""
        from xensnap.engine.engine import Engine

        wait_s = self.wait_s if changes else 0.0
        watching = progress.watching(verbose=self.verbose, events=self.events)
        with self._opened(changes=changes, wait_s=wait_s) as host, watching as watch:
            self.stage = Stage.ACTING if changes else Stage.BEFORE
            yield Engine(host, watch=watch, announce=self._announce, wait_s=wait_s)
        self.stage = Stage.DONE if changes else Stage.BEFORE

    @contextmanager
    def reader(self) -> "Iterator[Reader]":
        """What only looks at the store on the chosen host, and is there at once."""
        from xensnap.engine.reading import Reader

        with self._opened(changes=False, wait_s=0.0) as host:
            yield Reader(host)

    @contextmanager
    def _opened(self, *, changes: bool, wait_s: float) -> "Iterator[Hypervisor]":
        from xensnap import hosts

        said = self.configuration
        with hosts.open_host(
            self.chosen_host, changes=changes, wait_s=wait_s, root=self.root, domain_config=self.domain_config
        ) as host:
            self.host_name = host.name
            if said.hook and changes:
                self._add_hooks(host, said)
            yield host

    def _announce(self, plan: "Plan") -> None:
        """Say what should be known before it is done. Of a second plan that is told at the end, with what it did."""
        if not self.announced:
            self.announced = plan.warnings
            self.warnings(plan.warnings)

    def warnings(self, texts: Iterable[str]) -> None:
        """Warn of each of these."""
        for text in texts:
            self.warn(f"warning: {text}")

    def show(self, document: "Document", text: Callable[[], str]) -> None:
        """The document with `--json`, else the text."""
        if self.json:
            from xensnap.cli.output import to_json

            words = to_json(document)
        else:
            words = text()
            words += "\n" if words else ""
        self.print(words)

    def print(self, words: str) -> None:
        """Put this on stdout. Where that fails, the error knows whether the work was done."""
        try:
            click.echo(words, nl=False)
        except BrokenPipeError:
            # Whoever read our output has seen enough. Python would complain once more when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            done = Effect.DONE if self.stage is Stage.DONE else Effect.NONE
            before = "it was done, but " if done is Effect.DONE else ""
            cause = f"{before}the result cannot be shown: {error.strerror}"
            raise Failed(cause, id="not-shown", effect=done) from error

    def warn(self, text: str) -> None:
        """Something that a person should know; with `--json` the document says it."""
        if not self.json:
            click.echo(f"xensnap: {text}", err=True)

    def stands_still(self, domain: str, halted: str) -> None:
        """Say why a guest stands still, where nobody has paused it."""
        if halted:
            remedy = f"Remove the cause, then run `xensnap domain unpause {domain}`."
            self.warn(f"{domain} stands still: {halted}\n  → {remedy}")

    def recovery_due(self, domain: str, pending: str) -> None:
        """Say that an interrupted operation waits, where there is one. Looking is allowed all the same."""
        if pending:
            self.warn(f"{domain}: interrupted, recovery is due: {pending}\n  → Run `xensnap recover {domain}`.")


def _host(context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        context.ensure_object(Session).host_spec = value
    return value


def flag_option(*names: str, help: str) -> Callable[[Command], Command]:  # noqa: A002 -- click's word for it
    """A flag that only sets the field of the session that has its name."""
    field = names[-1].removeprefix("--").replace("-", "_")

    def keep(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
        if value:
            setattr(context.ensure_object(Session), field, True)
        return value

    return click.option(*names, is_flag=True, expose_value=False, callback=keep, help=help)


def _place(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value:
        assert parameter.name is not None, "click names options after their words"
        setattr(context.ensure_object(Session), parameter.name, os.path.abspath(value))  # noqa: PTH100 -- follows no link
    return value


def host_option(command: Command) -> Command:
    """`--host`, before or after the verb."""
    return click.option(
        "--host",
        metavar="HOST",
        expose_value=False,
        callback=_host,
        help="qemu:DIR, sim, sim:DIR or xen. Default: $XENSNAP_HOST, or a simulated host if one was made.",
    )(command)


def domain_config_option(told: str) -> Callable[[Command], Command]:
    """`--domain-config`, before the verb or after it."""
    return click.option("--domain-config", metavar="FILE", expose_value=False, callback=_place, help=told)


def xen_options(command: Command) -> Command:
    """What only a Xen host must be told, before the verb."""
    root = click.option(
        "--root",
        metavar="DIR",
        expose_value=False,
        callback=_place,
        help="Where a Xen host keeps its snapshots. [default: /var/lib/xen/snapshots]",
    )
    told = "The xl.cfg that a Xen domain is started from: for one that is off; remembered."
    return root(domain_config_option(told)(command))


verbose_option = flag_option("-v", "--verbose", help="Tell each step on stderr.")
json_option = flag_option("--json", help="Print one JSON document.")


def told(command: Command) -> Command:
    """What every verb has: `--json -v`, and the session as its first argument."""

    @wraps(command)
    def begun(*arguments: Any, **options: Any) -> Any:
        return command(click.get_current_context().ensure_object(Session), *arguments, **options)

    return verbose_option(json_option(begun))  # type: ignore[return-value]


def verb(command: Command) -> Command:
    """The same for a verb that works on a host: `--host`, too."""
    return host_option(told(command))


def changing(command: Command) -> Command:
    """What every verb has that changes something: `--wait`, `--no-wait`."""

    @wraps(command)
    def begun(session: Session, *arguments: Any, wait: float | None, no_wait: bool, **options: Any) -> Any:
        if no_wait and wait is not None:
            raise Usage("--wait and --no-wait contradict each other", id="contradiction", remedy="Give one of them.")
        if wait is not None:
            session.asked_wait_s = wait if wait <= WAIT_S_MAX else 0.0  # `nan` passes every range check
        if no_wait:
            session.asked_wait_s = 0.0
        return command(session, *arguments, **options)

    wait_option = click.option(
        "--wait",
        type=click.FloatRange(min=0, max=WAIT_S_MAX),
        metavar="SECONDS",
        help=f"How long to wait for a domain that somebody else works on. [default: {WAIT_S:g}]",
    )
    events = flag_option("--events", help="Tell each step on stderr as a JSON object on a line.")
    return events(wait_option(click.option("--no-wait", is_flag=True, help="Do not wait at all.")(begun)))  # type: ignore[return-value]


def accepting(command: Command) -> Command:
    """What every verb has that changes a domain: `--accept`, and what whatever changes something has."""

    @wraps(command)
    def begun(session: Session, *arguments: Any, accept: tuple[str, ...], **options: Any) -> Any:
        session.accept = accept
        return command(session, *arguments, **options)

    risk = "Take this one risk, which a refusal has named; can be repeated."
    return click.option("--accept", multiple=True, metavar="RISK-ID", help=risk)(verb(changing(begun)))  # type: ignore[return-value]


def planned(command: Command) -> Command:
    """What every verb has that carries out a plan: `--accept`, `--dry-run`, and what whatever changes something has."""
    dry_run = flag_option("--dry-run", help="Show the plan and change nothing; with --json, as `apply` reads it.")
    return dry_run(accepting(command))


def riskless(command: Command) -> Command:
    """The same for a verb that can lose nothing: there is no risk that anybody could accept."""

    @wraps(command)
    def begun(session: Session, *arguments: Any, **options: Any) -> Any:
        if session.accept:
            from xensnap.engine.risks import require_taken

            require_taken(session.accept, ())
        return command(session, *arguments, **options)

    return accepting(begun)  # type: ignore[return-value]
