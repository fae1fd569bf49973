"""Which host to work on: resolves `--host` and the variable XENSNAP_HOST, and imports a host only when it is chosen.

    xen         the Xen host this runs on
    qemu:DIR    real images in a directory
    sim[:DIR]   a simulated host, kept in a directory between commands

Nothing is ever simulated by surprise: the simulator is a default only where `xensnap sim init` has made a world, and
never on a machine that shows any sign of Xen.
"""

# ruff: noqa: PTH100 -- made absolute, and no link followed, so that a host is called what its user calls it

import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

import xensnap
from xensnap.errors import Busy, Damaged, Failed, NotFound, Usage

if TYPE_CHECKING:
    # For the commands about simulated hosts, too, so that the simulator has one door. Nothing is imported here.
    from simulator import CrashPoint as CrashPoint  # noqa: PLC0414 -- re-exported
    from simulator import SimulatedHost as SimulatedHost  # noqa: PLC0414 -- re-exported
    from simulator import World as World  # noqa: PLC0414 -- re-exported
    from simulator.guest import Memory as Memory  # noqa: PLC0414 -- as above
    from xensnap.hypervisor import Hypervisor

VARIABLE = "XENSNAP_HOST"

CHOICES = (
    "Choose one with --host or the variable XENSNAP_HOST: `xen` for the Xen host this is, `qemu:DIR` for real images "
    "in a directory, `sim` for a simulated host, which `xensnap sim init` makes."
)

XEN_PLACES = ("/proc/xen", "/etc/xen")

SIMULATED = "XENSNAP_SIM_DIR"
"""The variable by which programs on a simulated host know that it is one: the directory of its world."""

SOCKETS = "XENSNAP_QMP_DIR"
"""The variable that tells programs there where the monitors' sockets are."""

LOGS = "XENSNAP_LOG_DIR"
"""The variable that tells them where the files are that are /var/log/xen of a Xen host."""

WORLD_FILE = "world"

WORLD_BYTES_MAX = 1 << 30
"""How large the file of a world may be.

Of a written cluster it takes 13 to 280 bytes, the less the more of them are beside each other, and of a file that was
put there a third more than that has: the likeness of fifty real images of 64 GiB fits, and a machine can hold it.
"""

LOCK_FILE = ".world.lock"

WORLD_WAIT_S = 30.0
"""How long programs on a simulated host wait for each other."""

POLL_S = 0.02
"""How often a lock that another command holds is tried again."""


class Choice(msgspec.Struct, frozen=True):
    """A host as it was chosen. `directory` is absolute; empty for `xen`."""

    kind: str
    directory: str = ""
    name: str = ""


def choose(spec: str | None, *, environment: Mapping[str, str] | None = None) -> Choice:
    """What a user means by `--host`, or by giving none.

    Raises:
        Usage: no such kind of host; or none given, and none that could be meant.
    """
    environment = os.environ if environment is None else environment
    spec = environment.get(VARIABLE) or None if spec is None else spec
    if spec is None:
        return _default(environment)
    kind, colon, place = spec.partition(":")
    if kind == "xen" and not colon:
        return Choice("xen", name="xen")
    if kind == "qemu" and place:
        directory = os.path.abspath(place)
        return Choice("qemu", directory, f"qemu:{directory}")
    if spec == "sim":
        return Choice("sim", usual_place(environment), "sim")
    if kind == "sim" and place:
        directory = os.path.abspath(place)
        return Choice("sim", directory, f"sim:{directory}")
    if spec.rstrip(":") == "qemu":
        cause = "the host qemu: needs the directory of its images"
        raise Usage(cause, id="bad-host", remedy="Write qemu:DIR, such as `qemu:.`.")
    raise Usage(f"there is no host {spec!r}", id="bad-host", remedy=CHOICES)


def usual_place(environment: Mapping[str, str] | None = None) -> str:
    """Where `sim` without a directory keeps its world."""
    environment = os.environ if environment is None else environment
    state = environment.get("XDG_STATE_HOME", "")
    # The XDG specification has relative values ignored.
    base = Path(state) if state.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".local" / "state"
    return str(base / "xensnap" / "sim")


def sign_of_xen(environment: Mapping[str, str] | None = None) -> str:
    """What on this machine speaks of Xen; empty where nothing does."""
    import shutil

    environment = os.environ if environment is None else environment
    there = next((place for place in XEN_PLACES if os.path.lexists(place)), "")
    return there or shutil.which("xl", path=environment.get("PATH")) or ""


def _default(environment: Mapping[str, str]) -> Choice:
    sign = sign_of_xen(environment)
    if sign:
        cause = f"no host was chosen, and this machine has {sign}, so nothing is simulated here unasked"
        raise Usage(cause, id="no-host", remedy=CHOICES)
    place = usual_place(environment)
    if not SimulatedPlace(place).exists:
        raise Usage("no host was chosen, and there is no simulated one", id="no-host", remedy=CHOICES)
    return Choice("sim", place, "sim")


@contextmanager
def open_host(
    spec: str | None, *, changes: bool = True, wait_s: float = 0.0, root: str = "", domain_config: str = ""
) -> "Iterator[Hypervisor]":
    """The host to work on, for as long as a command takes.

    Under `sim run` the host `xen` is the simulated one, worked on as a real one by the code that works on those.

    A simulated one is read when this is entered and, with `changes`, locked meanwhile and saved at the end, whatever
    the command came to: a refused or failed one has left its traces, too.

    Args:
        spec: what the user gave; None for the variable or the default.
        changes: whether the command may change something.
        wait_s: how long to wait for another command on the same simulated host.
        root: absolute directory of the snapshot store of a Xen host, if not the usual one.
        domain_config: absolute path of the file that a domain is started from on a Xen host, so that it is known there
            while it is off; remembered if the command may change something.

    Raises:
        Usage: the choice makes no sense, or the simulator is not ours.
        Failed: xl cannot read the domain's file.
        NotFound: there is no such directory, or no world in it.
        Busy: another command works on the simulated host.
    """
    choice = choose(spec)
    if (root or domain_config) and choice.kind != "xen":
        cause = f"--root and --domain-config are for the host xen, and this is {choice.name}"
        raise Usage(cause, id="contradiction", remedy="Leave them out: this host knows its store and its domains.")
    if choice.kind == "qemu":
        from xensnap.backends.qemu.host import QemuHost

        yield QemuHost(choice.directory)
    elif choice.kind == "xen" and os.environ.get(SIMULATED):
        import_simulator()
        from xensnap.served import kept_host

        world = KeptWorld(SimulatedPlace(os.environ[SIMULATED]))
        with kept_host(world, sockets=os.environ.get(SOCKETS, ""), root=root or None) as through:
            if domain_config:
                through.run(through.learn(domain_config, remember=changes))
            yield through
    elif choice.kind == "xen":
        from xensnap.backends.xen.host import ROOT, this_machine

        xen = this_machine(root=root or ROOT)
        if domain_config:
            xen.run(xen.learn(domain_config, remember=changes))
        yield xen
    else:
        with open_simulated(choice, changes=changes, wait_s=wait_s) as simulated:
            yield simulated


# --- The simulated host ----------------------------------------------------------------------------------------------


@contextmanager
def open_simulated(choice: Choice, *, changes: bool = True, wait_s: float = 0.0) -> "Iterator[SimulatedHost]":
    """The simulated host whose world stands in a directory; see `open_host`."""
    simulator = import_simulator()
    place = SimulatedPlace(choice.directory)
    with place.locked(wait_s=wait_s) if changes else nullcontext():
        world = place.read()
        host: SimulatedHost = simulator.SimulatedHost(world if changes else world.looked_at())
        host.name = choice.name
        # What happens here takes milliseconds, so Ctrl-C may wait until the world is saved.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM} if changes else ())
        try:
            yield host
        finally:
            try:
                if changes:
                    place.write(host.world.ended(host.pid))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SimulatedPlace(msgspec.Struct, frozen=True):
    """The directory of a simulated host: `world`, replaced atomically, and its lock."""

    directory: str

    @property
    def path(self) -> Path:
        """The file that holds the world."""
        return Path(self.directory) / WORLD_FILE

    @property
    def lock_path(self) -> Path:
        """The file that is locked by who changes the world."""
        return Path(self.directory) / LOCK_FILE

    @property
    def exists(self) -> bool:
        """Whether there is a world here, damaged or not. A file that merely has its name is none."""
        try:
            file = _regular(self.path)
            if file is None:
                return False
            with file:
                return b"xensnap simulated world" in file.read(100)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _unreadable(self.path, str(error.strerror)) from error

    @property
    def strangers(self) -> tuple[str, ...]:
        """What is in the directory that is not ours; nobody's directory is taken for a simulated host."""
        try:
            names = sorted(os.listdir(self.directory))  # noqa: PTH208 -- names are wanted
        except FileNotFoundError:
            return ()
        ours = (WORLD_FILE,) if self.exists else ()
        return tuple(name for name in names if name not in (*ours, LOCK_FILE, f".{WORLD_FILE}.new"))

    def read(self) -> "World":
        """The world as the last command left it. Readers need no lock, since it is only ever replaced whole.

        Raises:
            NotFound: there is none.
            Usage: what is there cannot be read, or is larger than any world that is kept.
            Damaged: it is no world.
        """
        persist = import_simulator("simulator.persist")
        try:
            data = _whole(self.path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _nothing_in(self.directory) from error
        except OSError as error:
            raise _unreadable(self.path, str(error.strerror)) from error
        try:
            world: World = persist.decode(data, path=str(self.path))
        except Damaged as error:
            raise Damaged(error.cause, path=error.path, remedy="Make a new one: xensnap sim reset.") from error
        return world

    def write(self, world: "World") -> None:
        """Make this the world, durably and at once for every reader. Needs the lock.

        Raises:
            Failed: id `world-too-large`: nobody could read it again. The world is the one that it was.
        """
        data: bytes = import_simulator("simulator.persist").encode(world)
        if len(data) > WORLD_BYTES_MAX:
            cause = f"the simulated host would need {len(data) >> 20} MiB, and {WORLD_BYTES_MAX >> 20} are kept at most"
            remedy = "Write less to its disks, or put smaller files there; nothing of this command was kept."
            raise Failed(cause, id="world-too-large", remedy=remedy)
        new = self.path.with_name(f".{WORLD_FILE}.new")
        with os.fdopen(_private(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @contextmanager
    def locked(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """Nobody else changes this world meanwhile, so that two commands never lose each other's work."""
        if not Path(self.directory).is_dir():
            raise _nothing_in(self.directory)
        until = time.monotonic() + wait_s
        with os.fdopen(_private(self.lock_path, os.O_RDWR | os.O_CREAT), "r+b") as file:
            while not _try_lock(file.fileno()):
                if time.monotonic() >= until:
                    file.seek(0)
                    holder = file.read(20).decode(errors="replace").strip() or "another process"
                    raise Busy(f"the simulated host in {self.directory} is in use by process {holder}", id="busy")
                time.sleep(POLL_S)
            file.seek(0)
            file.truncate()
            file.write(b"%d\n" % os.getpid())
            file.flush()
            yield


class KeptWorld:
    """The world of a directory, read again when somebody else has changed it."""

    def __init__(self, place: SimulatedPlace) -> None:
        self._place = place
        self._seen: tuple[int, int] | None = None
        self._world: Any = None

    def changed(self) -> bool:
        """Whether somebody else may have changed the world since the last time."""
        return self._stamp() != self._seen

    @contextmanager
    def changing(self) -> Iterator[Any]:
        """The world, for us alone until this is left; what is in the cell then is the world."""
        cell_of = import_simulator("simulator.ports.seat").Cell
        with self._place.locked(wait_s=WORLD_WAIT_S):
            if self.changed():
                self._world = self._place.read()
            cell = cell_of(self._world)
            try:
                yield cell
            finally:
                if cell.world is not self._world:
                    self._place.write(cell.world)
                    self._world = cell.world
                self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int]:
        stat = self._place.path.stat()
        return stat.st_ino, stat.st_mtime_ns


def _nothing_in(directory: str) -> NotFound:
    cause = f"there is no simulated host in {directory}"
    return NotFound(cause, id="no-simulated-host", remedy="Make one: xensnap sim init.")


def _regular(path: Path) -> BinaryIO | None:
    """For reading; None where it is no regular file. A pipe of that name lets nobody wait for whoever writes to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None


def _whole(path: Path) -> bytes:
    file = _regular(path)
    if file is None:
        raise _unreadable(path, "it is no regular file")
    with file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > WORLD_BYTES_MAX:
            raise _unreadable(path, f"it is larger than {WORLD_BYTES_MAX >> 20} MiB, which no simulated host is")
        return file.read(size_bytes)


def _unreadable(path: Path, why: str) -> Usage:
    return Usage(f"{path}: {why}", id="unreadable-file", remedy="Look at what it is.")


def _private(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def import_simulator(module: str = "simulator") -> ModuleType:
    """Our package `simulator`, or a module of it.

    Another distribution has that name. Installed over ours it overwrites files of ours, and uninstalled again it takes
    them away, so what was imported is looked at before it is used.

    Raises:
        Usage: id `foreign-simulator`.
    """
    remedy = (
        "pip uninstall the distribution `simulator`, then run "
        f"`python -m pip install --force-reinstall --no-deps xensnap=={xensnap.__version__}`"
    )
    try:
        found = import_module("simulator")
        if getattr(found, "__xensnap__", None) == xensnap.__version__:
            return found if module == "simulator" else import_module(module)
        what = f"the package `simulator` in {_place_of(found)} is not the one of xensnap {xensnap.__version__}"
    except ImportError as error:
        what = f"the package `simulator` is damaged or another one: {error}"
    raise Usage(f"{what}; {remedy}", id="foreign-simulator", remedy=remedy)


def _place_of(module: ModuleType) -> str:
    return module.__file__ or ", ".join(getattr(module, "__path__", ())) or "?"
