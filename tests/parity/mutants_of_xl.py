"""What a reasonable fake would get wrong of xl: each put into the simulator."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from simulator.disk.filesystem import FileSystem
from simulator.qemu import graph
from simulator.qemu.commands import machine
from simulator.qemu.commands.machine import Failed
from simulator.serve.ended import Ended, Told
from simulator.serve.xl import acting, configuration, disks, helped, listing
from simulator.serve.xl import run as xl
from simulator.serve.xl.words import Refused
from simulator.tools.img.arguments import Call
from simulator.world import World, life, programs
from simulator.xen import configurations, incarnations
from simulator.xen.incarnations import Incarnation
from tests.parity import test_other_guests as guests
from xensnap.model import Backend, Disk, Domain

replace = msgspec.structs.replace
Mutate = Callable[[pytest.MonkeyPatch], None]

ADDED, STARTED = programs._added, graph.started
ATTACHED, FILE, RENAME, COMMAND = life.attached_disk, acting._file, acting.rename, acting.monitor_command

BEGUN, SUSPENDING, SAVING = programs._file_begun, programs._suspend_asked, programs._STEPS[programs.Save]
OPENING, HAS, LOADVM = graph.opening, Call.has, machine.loadvm
MADE, TOLD, PAUSED, LETTERS, REFUSED = life.made, configuration.config, life.paused, listing.letters, xl._refused
REFUSAL = configurations.refusal


def pauses_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A paused guest that is paused again needs one unpause."""
    patch.setattr(life, "paused", lambda world, domid: life.changed(world, replace(_of(world, domid), pauses=1)))


def exit_codes_are_right(patch: pytest.MonkeyPatch) -> None:
    """Whoever names a domain that is not there gets an exit code that says so."""

    def there(world: World, domid: int) -> Incarnation:
        if domid not in world.xen.there:
            raise Refused("no such domain")
        return world.xen.there[domid]

    patch.setattr(acting, "there", there)


def every_failure_exits_with_one(patch: pytest.MonkeyPatch) -> None:
    """A name that is taken ends a create as it ends a restore."""

    def refused(world: World, error: Refused) -> object:
        error.code = 1
        return REFUSED(world, error)

    patch.setattr(xl, "_refused", refused)


def a_save_leaves_the_watcher(patch: pytest.MonkeyPatch) -> None:
    """A guest that was saved and runs on is looked after as before."""
    patch.setattr(life, "without_watcher", lambda world, _incarnation: world)


def a_paused_guest_can_be_saved(patch: pytest.MonkeyPatch) -> None:
    """The memory of a paused guest stands still, so it can be saved."""
    patch.setattr(programs, "may_suspend", lambda _world, _domid: True)


def a_save_file_is_private(patch: pytest.MonkeyPatch) -> None:
    """A file with a guest's memory is for root alone."""
    patch.setattr(programs, "_CREATED_MODE", 0o600)


def domids_are_given_again(patch: pytest.MonkeyPatch) -> None:
    """A domain that could not be made uses no number up."""

    def made(world: World, **told: object) -> tuple[World, int]:
        free = max(world.xen.there, default=0) + 1
        return MADE(replace(world, xen=replace(world.xen, next_domid=free)), **told)  # type: ignore[arg-type]

    patch.setattr(life, "made", made)


def xl_knows_of_an_overlay(patch: pytest.MonkeyPatch) -> None:
    """After an external snapshot xl names the image that the guest writes to."""

    def told(world: World, each: Incarnation) -> object:
        config = TOLD(world, each)
        for disk in config.get("disks", ()):
            drive = world.qemus[each.domid].guests(disk["vdev"]) if each.domid in world.qemus else None
            disk["pdev_path"] = drive.root.layer.path if drive else disk["pdev_path"]
        return config

    patch.setattr(configuration, "config", told)


def a_pause_stops_qemu(patch: pytest.MonkeyPatch) -> None:
    """QEMU says `paused` of a guest that xl has paused."""

    def paused(world: World, domid: int) -> World:
        stopped = replace(world.qemus[domid], status="paused")
        return PAUSED(replace(world, qemus=world.qemus.set(domid, stopped)), domid)

    patch.setattr(life, "paused", paused)


def xl_sees_that_qemu_stands(patch: pytest.MonkeyPatch) -> None:
    """xl shows a guest as paused whose QEMU was stopped."""

    def letters(world: World, each: Incarnation) -> str:
        stands = world.qemus[each.domid].status != "running"
        return LETTERS(world, replace(each, pauses=1) if stands else each)

    patch.setattr(listing, "letters", letters)


def a_missing_image_is_not_attached(patch: pytest.MonkeyPatch) -> None:
    """An image that does not exist is refused when it is to be attached."""

    def attached(world: World, domain: Domain, disk: Disk, *, named: bool = False) -> World:
        if world.fs.find(disk.path) is None:
            raise Refused(f"{disk.path}: No such file or directory")
        return ATTACHED(world, domain, disk, named=named)

    patch.setattr(life, "attached_disk", attached)


def any_disk_can_be_detached(patch: pytest.MonkeyPatch) -> None:
    """A disk that QEMU could not open can be detached again."""
    patch.setattr(disks, "_is_open", lambda *_args: True)


def a_detached_disk_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Of a disk that was detached xl has nothing to say any more."""
    patch.setattr(configuration, "complaints", lambda _chosen: "")


def a_disk_is_connected_at_once(patch: pytest.MonkeyPatch) -> None:
    """The disks of a guest that was restored and stands still are connected."""
    patch.setattr(listing, "connected", lambda *_args: True)


def a_subcommand_is_named_in_full(patch: pytest.MonkeyPatch) -> None:
    """`xl des` is no subcommand."""
    patch.setattr(helped, "meant", lambda word: word if word in helped.names() else None)


def a_bad_file_has_an_exit_code_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """A configuration that cannot be parsed ends a create as one that cannot be read."""

    def file(*args: Any, **more: Any) -> Any:
        try:
            return FILE(*args, **more)
        except Refused as error:
            error.code = 3
            raise

    patch.setattr(acting, "_file", file)


def a_name_that_it_has_is_taken(patch: pytest.MonkeyPatch) -> None:
    """A domain cannot be given the name that it has."""

    def rename(world: World, argv: Sequence[str], told: Told) -> Ended:
        if argv[:1] == argv[1:2]:
            return Ended(world, 1, "", "taken\n")
        return RENAME(world, argv, told)

    patch.setitem(xl.SUBCOMMANDS, "rename", rename)


def no_image_is_looked_for(patch: pytest.MonkeyPatch) -> None:
    """What is attached is not looked for, whether a backend is named or not."""
    patch.setattr(disks, "_require_there", lambda *_args: None)


def a_named_backend_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    """What serves a disk libxl chooses by the image, so nobody keeps what a file has said of it."""

    def config(world: World, each: Incarnation) -> object:
        config = TOLD(world, each)
        for disk in config.get("disks", ()):
            disk.pop("backend", None)
        return config

    patch.setattr(configuration, "config", config)


def any_kernel_boots(patch: pytest.MonkeyPatch) -> None:
    """A kernel is looked for before a domain is made, or never."""
    patch.setattr(acting, "_require_kernel", lambda *_args: None)


def a_guest_needs_nothing_to_boot_from(patch: pytest.MonkeyPatch) -> None:
    """A PV guest without a kernel finds a boot loader on its first disk, as a PC does."""

    def refusal(written: str, *, source: str) -> str:
        said = REFUSAL(written, source=source)
        return "" if "kernel" in said else said

    patch.setattr(configurations, "refusal", refusal)


def a_log_goes_on(patch: pytest.MonkeyPatch) -> None:
    """A new daemon writes below what the one before has written."""
    patch.setattr(incarnations, "_turned_over", lambda logs, _file: logs)


def every_end_is_cleaned_up(patch: pytest.MonkeyPatch) -> None:
    """A guest that reboots is started again, and of any other that ends nothing is left."""
    patch.setattr(configurations, "on_end", lambda _items, reason: "restart" if reason == "reboot" else "destroy")


def lines_are_counted_right(patch: pytest.MonkeyPatch) -> None:
    """The line that a mistake in a configuration is told of is the line that it is in."""
    patch.setattr(acting, "_in_lines_of_xl", lambda cause: cause)


def a_refused_monitor_command_fails(patch: pytest.MonkeyPatch) -> None:
    """A command that the monitor does not know ends xl with an error."""

    def command(world: World, argv: Sequence[str], told: Told) -> Ended:
        ended = COMMAND(world, argv, told)
        return replace(ended, returncode=int(ended.stdout.startswith(("unknown", "Error"))))

    patch.setitem(xl.SUBCOMMANDS, "qemu-monitor-command", command)


def _where_a_save_fails(patch: pytest.MonkeyPatch, left: Callable[[World, programs.Save], World]) -> None:
    """A save that finds no space leaves the world so."""

    def added(world: World, program: Any, data: bytes) -> World:
        try:
            return ADDED(world, program, data)
        except life.XlError as error:
            raise life.XlError(error.words, left(error.world or world, program)) from None

    patch.setattr(programs, "_added", added)


def a_full_disk_leaves_the_guest_suspended(patch: pytest.MonkeyPatch) -> None:
    """Whoever has suspended a guest for a save that failed lets it go on."""
    _where_a_save_fails(patch, lambda world, program: life.suspended(world, program.domid))


def a_failed_save_takes_its_file_back(patch: pytest.MonkeyPatch) -> None:
    """What is no save file does not stay under the name of one."""
    _where_a_save_fails(patch, lambda world, program: world.with_fs(world.fs.link_away(program.path)))


def an_image_is_open_once(patch: pytest.MonkeyPatch) -> None:
    """A disk is one disk, by which drivers a guest ever reaches it."""
    patch.setattr(graph, "started", lambda *args, **told: graph.unplugged(*STARTED(*args, **told)))


def an_older_save_is_kept_until_a_new_one_is_whole(patch: pytest.MonkeyPatch) -> None:
    """A save that fails leaves the file as it was that had its name."""
    older = dict[str, Any]()

    def begun(world: World, program: Any) -> World:
        older[program.path] = world.fs.inode(program.path).stored
        return BEGUN(world, program)

    def kept(world: World, program: programs.Save) -> World:
        return world.with_fs(world.fs.update(program.path, lambda _: older[program.path]))

    patch.setitem(programs._STEPS, programs.Save, tuple((n, begun if step is BEGUN else step) for n, step in SAVING))
    _where_a_save_fails(patch, kept)


def a_save_begins_when_the_guest_stands_still(patch: pytest.MonkeyPatch) -> None:
    """Of a guest that cannot be saved there is no file."""

    def asked(world: World, program: Any) -> World:
        if not programs.may_suspend(world, program.domid):
            world = world.with_fs(world.fs.link_away(program.path))
        return SUSPENDING(world, program)

    steps = tuple((name, asked if step is SUSPENDING else step) for name, step in SAVING)
    patch.setitem(programs._STEPS, programs.Save, steps)


def a_save_that_failed_has_unpaused_the_guest(patch: pytest.MonkeyPatch) -> None:
    """Whoever could not save a paused guest lets it run."""

    def asked(world: World, program: Any) -> World:
        try:
            return SUSPENDING(world, program)
        except life.XlError as error:
            raise life.XlError(error.words, life.unpaused(error.world or world, program.domid)) from None

    steps = tuple((name, asked if step is SUSPENDING else step) for name, step in SAVING)
    patch.setitem(programs._STEPS, programs.Save, steps)


def an_unpause_too_many_fails(patch: pytest.MonkeyPatch) -> None:
    """Whoever unpauses a guest that runs gets an exit code that says so."""
    _as_its_words_are(patch, "unpause")


def a_list_of_nobodys_disks_fails(patch: pytest.MonkeyPatch) -> None:
    """`xl block-list` of a domain that is not there ends with an error."""
    _as_its_words_are(patch, "block-list")


def _as_its_words_are(patch: pytest.MonkeyPatch, name: str) -> None:
    """A subcommand that complains ends with an error."""
    real = xl.SUBCOMMANDS[name]

    def ended(world: World, argv: Sequence[str], told: Told) -> Ended:
        done = real(world, argv, told)
        assert isinstance(done, Ended)
        return replace(done, returncode=done.returncode or int(bool(done.stderr)))

    patch.setitem(xl.SUBCOMMANDS, name, ended)


def xl_works_without_xen(patch: pytest.MonkeyPatch) -> None:
    """What needs no hypervisor, such as the help, needs none."""
    patch.setattr(xl, "_NO_XEN", "no Xen here\n")


def whoever_asks_is_answered(patch: pytest.MonkeyPatch) -> None:
    """Without xenstored xl says so."""

    def unanswered(_name: str) -> Exception:
        return Refused("xenstored does not answer")

    patch.setattr(xl, "_unanswered", unanswered)


def a_state_without_memory_is_not_saved(patch: pytest.MonkeyPatch) -> None:
    """QEMU does not save a machine whose memory it does not have."""

    def savevm(board: Any, _tag: Any) -> Any:
        raise Failed("the machine cannot be saved", board)

    patch.setattr(machine, "savevm", savevm)


def what_was_saved_can_be_loaded(patch: pytest.MonkeyPatch) -> None:
    """A machine that QEMU has saved it can load."""

    def loadvm(board: Any, tag: str) -> Any:
        loaded = LOADVM(replace(board, qemu=replace(board.qemu, xen=False)), tag)
        return replace(loaded, qemu=replace(loaded.qemu, xen=True))

    patch.setattr(machine, "loadvm", loadvm)


def a_load_that_failed_lets_qemu_run(patch: pytest.MonkeyPatch) -> None:
    """After a load that failed QEMU goes on as before."""

    def loadvm(board: Any, tag: str) -> Any:
        try:
            return LOADVM(board, tag)
        except Failed as error:
            error.board = replace(error.board, qemu=replace(error.board.qemu, status=board.qemu.status))
            raise

    patch.setattr(machine, "loadvm", loadvm)


def the_copy_is_not_locked(patch: pytest.MonkeyPatch) -> None:
    """QEMU under Xen locks none of its images."""

    def unlocked(fs: FileSystem, qemu: graph.Qemu) -> FileSystem:
        drives = tuple(
            replace(drive, chain=tuple(replace(node, locked=False) for node in drive.chain)) for drive in qemu.drives
        )
        return OPENING(fs, replace(qemu, drives=drives))

    patch.setattr(graph, "opening", unlocked)


def a_lock_is_a_lock(patch: pytest.MonkeyPatch) -> None:
    """With `-U`, too, an image that is locked is not looked at."""
    patch.setattr(Call, "has", lambda call, *names: HAS(call, *(name for name in names if name != "U")))


def no_paused_guest_can_be_saved(patch: pytest.MonkeyPatch) -> None:
    """What holds of a PV guest holds of any."""
    patch.setattr(programs, "may_suspend", lambda world, domid: not world.xen.there[domid].pauses)


def disks_are_listed_as_the_file_has_them(patch: pytest.MonkeyPatch) -> None:
    """The order of the disks in a configuration is their order everywhere."""
    patch.setattr(listing, "in_xenstore", lambda _: "")


def qemu_serves_every_file(patch: pytest.MonkeyPatch) -> None:
    """Only block devices go to the kernel."""
    patch.setattr(configurations, "taken", lambda *_: Backend.QDISK)


def every_guest_has_drivers(patch: pytest.MonkeyPatch) -> None:
    """A guest gives up its emulated disks as soon as it runs."""
    patch.setattr(acting, "_has_drivers", lambda *_: True)


class Case(NamedTuple):
    """What was put down of a real host in other words than a trace.

    Attributes:
        config: the file that a guest is made from.
        test: notices by an assertion, or by whatever else goes wrong.
    """

    config: str
    test: Callable[[guests.Dom0], None]

    def notices(self) -> bool:
        """Whether the simulator is another than the real host was."""
        try:
            self.test(guests.Dom0(self.config))
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 -- breaking down is another thing, too
            return True
        return False

    def __str__(self) -> str:
        """What it says, in words."""
        return self.test.__name__.removeprefix("test_").replace("_", " ")


_NO_SPACE = Case(
    guests.FOUR_DISKS, guests.test_a_save_that_finds_no_space_resumes_the_guest_and_leaves_what_it_has_written
)
_PAUSED = Case(
    guests.FOUR_DISKS, guests.test_a_paused_guest_that_cannot_be_saved_stays_paused_and_leaves_the_beginning_of_a_file
)
_TWICE = Case(guests.IN_ITS_BIOS, guests.test_before_a_kernel_unplugs_it_each_disk_is_in_qemu_twice)
_LOCKED = Case(guests.IN_ITS_BIOS, guests.test_the_copy_that_a_pc_has_is_locked)
_BY_HAND = Case(guests.BOOTED, guests.test_the_human_monitor_saves_a_guest_without_its_memory_and_cannot_load_it)

MUTANTS: dict[Mutate, str | Case] = {
    a_refused_monitor_command_fails: "the-human-monitor",
    a_named_backend_is_not_kept: "save-and-restore",
    pauses_are_not_counted: "pause-is-counted",
    exit_codes_are_right: "no-such-domain",
    every_failure_exits_with_one: "names",
    a_save_leaves_the_watcher: "poweroff-after-a-save",
    a_paused_guest_can_be_saved: "save-of-a-paused-guest",
    a_save_file_is_private: "save-and-restore",
    domids_are_given_again: "save-and-restore",
    xl_knows_of_an_overlay: "external-snapshot",
    a_pause_stops_qemu: "pause-is-counted",
    xl_sees_that_qemu_stands: "state-saved-by-qemu",
    a_missing_image_is_not_attached: "a-disk-that-is-not-there",
    any_disk_can_be_detached: "a-disk-that-is-not-there",
    a_detached_disk_is_forgotten: "disks-attached-and-detached",
    a_disk_is_connected_at_once: "disks-attached-and-detached",
    a_subcommand_is_named_in_full: "usage",
    a_bad_file_has_an_exit_code_of_its_own: "configurations-refused",
    a_name_that_it_has_is_taken: "names-and-updates",
    no_image_is_looked_for: "disks-in-all-words",
    any_kernel_boots: "kernels-that-are-not-there",
    lines_are_counted_right: "kernels-that-are-not-there",
    a_guest_needs_nothing_to_boot_from: Case(
        guests.FOUR_DISKS, guests.test_a_guest_that_boots_from_nothing_is_not_made
    ),
    every_end_is_cleaned_up: Case(
        guests.FOUR_DISKS,
        guests.test_a_guest_that_has_ended_is_kept_or_started_again_where_its_configuration_says_so,
    ),
    a_log_goes_on: Case(
        guests.FOUR_DISKS, guests.test_each_daemon_has_a_log_of_its_own_and_the_one_before_is_turned_over
    ),
    an_unpause_too_many_fails: "pause-is-counted",
    a_list_of_nobodys_disks_fails: "no-such-domain",
    a_full_disk_leaves_the_guest_suspended: _NO_SPACE,
    a_failed_save_takes_its_file_back: _NO_SPACE,
    an_older_save_is_kept_until_a_new_one_is_whole: Case(
        guests.FOUR_DISKS, guests.test_a_save_that_finds_no_space_has_destroyed_what_was_under_its_name
    ),
    a_save_begins_when_the_guest_stands_still: _PAUSED,
    a_save_that_failed_has_unpaused_the_guest: _PAUSED,
    xl_works_without_xen: Case(guests.FOUR_DISKS, guests.test_without_xen_xl_says_so_whatever_it_is_asked),
    whoever_asks_is_answered: Case(guests.FOUR_DISKS, guests.test_without_xenstored_a_list_never_ends),
    an_image_is_open_once: _TWICE,
    every_guest_has_drivers: _TWICE,
    the_copy_is_not_locked: _LOCKED,
    a_lock_is_a_lock: _LOCKED,
    a_state_without_memory_is_not_saved: _BY_HAND,
    what_was_saved_can_be_loaded: _BY_HAND,
    a_load_that_failed_lets_qemu_run: _BY_HAND,
    no_paused_guest_can_be_saved: Case(
        guests.IN_ITS_BIOS, guests.test_such_a_guest_can_be_saved_while_it_is_paused_and_is_paused_twice_then
    ),
    disks_are_listed_as_the_file_has_them: Case(
        guests.IN_ITS_BIOS, guests.test_no_driver_has_connected_to_the_disks_of_such_a_guest
    ),
    qemu_serves_every_file: Case(
        guests.FOUR_DISKS, guests.test_a_raw_image_goes_to_the_kernel_where_no_backend_is_named
    ),
}
"""Each with what notices it: a trace of a real host, or what was put down of one in other words."""


def _of(world: World, domid: int) -> Incarnation:
    return life.require(world, domid)
