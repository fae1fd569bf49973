"""A simulated monitor and a real QEMU 7.2 without a machine hear the same random commands and must say the same."""

import json
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.tools.img.run import run as run_simulated
from tests.parity.monitors import IMAGES, File, RealQemu, SimulatedQemu, create_args, normal, ordered
from tests.parity.rounds import FEW, again, up_to_not_modelled
from tests.parity.tools import WITH_QEMU, WITH_STORAGE_DAEMON, run

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_system")]

FILES = [
    File("base.qcow2"),
    File("top.qcow2", backing="base.qcow2", device="d0", node="n0"),
    File("other.qcow2", device="d1", node="n1"),
    File("raw.img", "raw", device="r0", node="nr"),
    File("bare.qcow2", node="a"),
    File("bareraw.img", "raw", node="br"),
    File("ro.qcow2", node="ro", readonly=True),
    File("free.qcow2"),
    File("small.qcow2", size=512 * 1024),
    File("v2.qcow2", compat="0.10", device="d2", node="n2"),
]

DEVICES = st.sampled_from(["d0", "d0", "d1", "d2", "r0", "n0", "a", "a", "ov", "ro", "br", "nope", "x1"])
NODES = st.sampled_from(["n0", "n1", "nr", "a", "a", "ov", "x1", "x2", "ro", "nope", "bad name", ""])
NEW_NODES = st.sampled_from(["x1", "x1", "x2", "ov", "a", "bad name", "1n", "y" * 40])
NEW_FILES = st.sampled_from([f"{IMAGES}/{name}" for name in ("new1", "new2", "free.qcow2", "top.qcow2", "nodir/x")])
OLD_FILES = st.sampled_from(
    [f"{IMAGES}/{name}" for name in ("free.qcow2", "small.qcow2", "base.qcow2", "top.qcow2", "gone", "new1", "raw.img")]
)
TAGS = st.sampled_from(["s1", "s1", "s2", "1", "", "t" * 300, "ü"])
JOBS = st.sampled_from(["j", "j", "k", "d0", "zz"])


def some(**optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={key.replace("_", "-"): value for key, value in optional.items()})


WRITTEN = "a guest's write"
"""Stands among the commands."""


def command(name: str, required: Any = None, /, **optional: Any) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    mine = {key.replace("_", "-"): value for key, value in (required or {}).items()}
    given = st.tuples(st.fixed_dictionaries(mine), some(**optional)).map(lambda two: two[0] | two[1])
    return given.map(lambda arguments: (name, arguments))


INTERNAL = command("blockdev-snapshot-internal-sync", {"device": DEVICES, "name": TAGS})
EXTERNAL = command(
    "blockdev-snapshot-sync",
    {"snapshot_file": NEW_FILES | OLD_FILES},
    device=DEVICES,
    node_name=NODES,
    snapshot_node_name=NEW_NODES,
    mode=st.sampled_from(["existing", "absolute-paths", "bogus"]),
    format=st.sampled_from(["qcow2", "raw", "nosuch"]),
)
EXTERNAL_BY_DEVICE = command(
    "blockdev-snapshot-sync", {"snapshot_file": NEW_FILES, "device": DEVICES}, snapshot_node_name=NEW_NODES
)
OVERLAY = command("blockdev-snapshot", {"node": NODES, "overlay": NODES})
ABORT: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.just(("abort", {}))
ACTION = st.one_of(INTERNAL, INTERNAL, EXTERNAL_BY_DEVICE, EXTERNAL, OVERLAY, ABORT)
ADD = command(
    "blockdev-add",
    {
        "driver": st.just("qcow2"),
        "file": OLD_FILES.map(lambda path: {"driver": "file", "filename": path}),
    },
    node_name=NEW_NODES,
    read_only=st.booleans(),
    backing=st.none(),
)
START = {"device": DEVICES, "job_id": JOBS}
FLAGS = {"auto_dismiss": st.booleans(), "auto_finalize": st.booleans()}
COMMIT = command(
    "block-commit",
    START,
    base=OLD_FILES,
    top=OLD_FILES,
    top_node=NODES,
    base_node=NODES,
    backing_file=st.just("b"),
    **FLAGS,
)
STREAM = command("block-stream", START, base=OLD_FILES, base_node=NODES, backing_file=st.just("b"), **FLAGS)
BITMAPS = st.sampled_from(["b", "b", "c", ""])
BITMAP = {"node": NODES | DEVICES, "name": BITMAPS}
SOURCES = st.lists(BITMAPS | st.fixed_dictionaries(BITMAP), max_size=2)
BITMAP_COMMANDS = [
    command(
        "block-dirty-bitmap-add",
        BITMAP,
        granularity=st.sampled_from([512, 65536, 1 << 20, 100, -1, "x"]),
        disabled=st.booleans(),
    ),
    *(command(f"block-dirty-bitmap-{verb}", BITMAP) for verb in ("clear", "enable", "disable", "remove")),
    command("block-dirty-bitmap-merge", {"node": NODES, "target": BITMAPS, "bitmaps": SOURCES}),
]
ACTIONS = st.one_of(ACTION, *BITMAP_COMMANDS)
HUMAN = command(
    "human-monitor-command",
    {
        "command_line": st.sampled_from(
            [
                "savevm s1",
                "savevm 2",
                "loadvm s1",
                "loadvm 1",
                "delvm s1",
                "info snapshots",
                "info block",
                "info block -n d0",
                "info block-jobs",
                "info status",
                "commit d0",
                "commit all",
                "commit nope",
                "block_resize d1 2M",
                "block_stream d0",
                f"snapshot_blkdev d0 {IMAGES}/new1 qcow2",
                f"snapshot_blkdev -n d1 {IMAGES}/small.qcow2",
                "snapshot_blkdev_internal d0 s1",
                "snapshot_delete_blkdev_internal d0 s1",
                "block_job_complete j",
                "block_job_cancel -f j",
            ]
        )
    },
)
MACHINE = {"job_id": JOBS, "tag": TAGS, "devices": st.lists(NODES, max_size=2)}
COMMANDS = st.one_of(
    INTERNAL,
    INTERNAL,
    command("blockdev-snapshot-delete-internal-sync", {"device": DEVICES}, name=TAGS, id=st.sampled_from("1234")),
    EXTERNAL,
    EXTERNAL_BY_DEVICE,
    EXTERNAL_BY_DEVICE,
    OVERLAY,
    ADD,
    ADD,
    command("blockdev-del", {"node_name": NODES}),
    *BITMAP_COMMANDS,
    command("snapshot-save", {**MACHINE, "vmstate": NODES}),
    command("snapshot-load", {**MACHINE, "vmstate": NODES}),
    command("snapshot-delete", MACHINE),
    st.lists(ACTIONS, max_size=3).map(
        lambda actions: ("transaction", {"actions": [{"type": name, "data": data} for name, data in actions]})
    ),
    command("block-commit", START, **FLAGS),
    COMMIT,
    STREAM,
    *(
        command(f"job-{verb}", {"id": JOBS})
        for verb in ("complete", "cancel", "dismiss", "finalize", "pause", "resume")
    ),
    *(command(f"block-job-{verb}", {"device": JOBS}) for verb in ("complete", "cancel", "pause")),
    command(
        "block_resize", {"size": st.sampled_from([1 << 20, 2 << 20, 524288, 1000, -1])}, device=DEVICES, node_name=NODES
    ),
    command(
        "change-backing-file", {"device": DEVICES, "image_node_name": NODES, "backing_file": st.sampled_from(["", "x"])}
    ),
    command("query-block"),
    command("query-named-block-nodes", flat=st.booleans()),
    command("query-jobs"),
    command("x-debug-query-block-graph"),
    command("query-block-jobs"),
    command("query-status"),
    command("stop"),
    command("cont"),
    command("query-version", bogus=st.integers()),
    HUMAN,
    command("system_powerdown"),
)
LOOKS: list[tuple[str, dict[str, Any]]] = [
    ("query-block", {}),
    ("query-named-block-nodes", {"flat": True}),
    ("query-block-jobs", {}),
]

DATA_DEVICES = st.sampled_from(["d0", "d0", "d1"])
PLACES = st.integers(0, 15).map(lambda place: place << 16)
DATA_BITMAP = {"node": st.sampled_from(["n0", "n1"]), "name": st.just("b")}
WRITE = command(WRITTEN, {"device": DATA_DEVICES, "offset": PLACES, "length": st.sampled_from([512, 1 << 16])})
DATA = st.one_of(
    WRITE,
    WRITE,
    command("block-dirty-bitmap-add", DATA_BITMAP, granularity=st.sampled_from([512, 65536, 1 << 20])),
    command("block-dirty-bitmap-clear", DATA_BITMAP),
    command("blockdev-snapshot-internal-sync", {"device": DATA_DEVICES, "name": st.sampled_from(["s1", "s2"])}),
    command("blockdev-snapshot-sync", {"device": DATA_DEVICES, "snapshot_file": NEW_FILES}),
    command("block-stream", {"device": DATA_DEVICES, "job_id": st.just("k")}),
)
# How much a commit has copied of what is written meanwhile is a race in the real QEMU, so it ends before the next.
COMMITTED = st.tuples(
    command("block-commit", {"device": DATA_DEVICES, "job_id": st.just("k")}),
    command("job-complete", {"id": st.just("k")}) | command("job-cancel", {"id": st.just("k")}),
)
DATA_STEPS = st.one_of(DATA.map(lambda step: (step,)), DATA.map(lambda step: (step,)), COMMITTED)
NAMED = st.sampled_from(["n0", "n1", "n2", "a"])
FEW_TAGS = st.sampled_from(["s1", "s1", "1", "2"])
STATE = {"job_id": st.just("j"), "tag": FEW_TAGS, "devices": st.lists(NAMED, min_size=1, max_size=2)}
STATES = st.one_of(
    command("snapshot-save", {**STATE, "vmstate": NAMED}),
    command("snapshot-save", {**STATE, "vmstate": st.just("n0"), "devices": st.just(["n0", "n1"])}),
    command("snapshot-save", {**STATE, "vmstate": st.just("n0"), "devices": st.just(["n0"])}),
    command("snapshot-load", {**STATE, "vmstate": st.just("n0"), "devices": st.just(["n1", "n0"])}),
    command("snapshot-load", {**STATE, "vmstate": st.just("n0"), "devices": st.just(["n0"])}),
    command("snapshot-delete", STATE),
    command("blockdev-snapshot-internal-sync", {"device": NAMED, "name": FEW_TAGS}),
    command("block_resize", {"node_name": NAMED, "size": st.sampled_from([1 << 20, 2 << 20])}),
    command("block-dirty-bitmap-add", {"node": NAMED, "name": st.just("b")}),
    command("block-dirty-bitmap-remove", {"node": NAMED, "name": st.just("b")}),
    command("block-commit", {"device": st.just("d0"), "job_id": st.just("k")}),
    command("job-cancel", {"id": st.just("k")}),
    command("cont"),
    HUMAN,
)


# Jobs that stay until they are dismissed, among images that they join.
ADDED = {"driver": st.just("qcow2"), "file": OLD_FILES.map(lambda path: {"driver": "file", "filename": path})}
IN_CHAIN = st.sampled_from(["d0", "d0", "d0", "ov", "n0", "a", "x1"])
BETWEEN = st.sampled_from(["n0", "ov", "a", "x1", "x2", "n1"])
STAYING = {"auto_dismiss": st.sampled_from([True, False, False]), "auto_finalize": st.booleans()}
JOINING = {"device": IN_CHAIN, "job_id": JOBS}
JOINED = st.one_of(
    command("blockdev-snapshot-sync", {"device": IN_CHAIN, "snapshot_file": NEW_FILES}, snapshot_node_name=NEW_NODES),
    command("blockdev-snapshot-sync", {"device": st.just("d0"), "snapshot_file": NEW_FILES}),
    command("blockdev-snapshot", {"node": BETWEEN, "overlay": BETWEEN}),
    command("blockdev-snapshot", {"node": st.just("n0"), "overlay": st.just("a")}),
    command("block-stream", JOINING, base_node=BETWEEN, **STAYING),
    command("block-stream", JOINING, **STAYING),
    command("block-commit", JOINING, top_node=BETWEEN, base_node=BETWEEN, **STAYING),
    command("block-commit", JOINING, **STAYING),
    *(command(f"job-{verb}", {"id": JOBS}) for verb in ("complete", "cancel", "dismiss", "dismiss", "finalize")),
    *(command(f"job-{verb}", {"id": JOBS}) for verb in ("pause", "resume")),
    command("block-job-cancel", {"device": JOBS}),
    command("blockdev-add", {**ADDED, "node_name": st.sampled_from(["x1", "x2"])}),
    command("blockdev-del", {"node_name": BETWEEN}),
    command("blockdev-snapshot-internal-sync", {"device": IN_CHAIN, "name": TAGS}),
    command("block_resize", {"size": st.sampled_from([1 << 20, 2 << 20])}, node_name=BETWEEN),
    command("change-backing-file", {"device": IN_CHAIN, "image_node_name": BETWEEN, "backing_file": st.just("x")}),
    command("x-debug-query-block-graph"),
    command("query-jobs"),
)


DAEMON = "qemu-storage-daemon"
BARE_FILES = [replace(file, device="") for file in FILES]


@cache
def template(files: tuple[File, ...]) -> Path:
    """Images made once; backing names are relative, so that copies of them stand on copies."""
    scratch = Path(_TEMPLATES.name)
    for file in files:
        done = run(["qemu-img", *create_args(file)], scratch)
        assert done.returncode == 0, done
    return scratch


_TEMPLATES = tempfile.TemporaryDirectory(prefix="templates")


class Pair:
    """Both, side by side."""

    def __init__(self, directory: Path, files: list[File] = FILES, program: str = "qemu-system-x86_64") -> None:
        self.directory = str(directory)
        for file in files:
            shutil.copy(template(tuple(files)) / file.name, directory)
        self.real = RealQemu(directory, files, program)
        self.simulated = SimulatedQemu(files, daemon=program == DAEMON)
        self.over = False
        self.order = ordered
        self.alike = WITH_STORAGE_DAEMON if program == DAEMON else WITH_QEMU
        assert self.real.greeting == self.simulated_greeting()
        self.both("qmp_capabilities", {})

    def simulated_greeting(self) -> Any:
        from simulator.qemu import monitor

        return json.loads(monitor.spoken(monitor.greeting()))

    def both(self, name: str, arguments: dict[str, Any]) -> None:
        if name == WRITTEN:
            self.real.write(**arguments, number=self.simulated.write(**arguments))
            return
        message = json.dumps({"execute": name, "arguments": arguments})
        real = normal(self.real.answers(message.replace(IMAGES, self.directory).encode()), self.directory)
        simulated = normal(self.simulated.answers(message.encode()))
        assert self.order(simulated) == self.order(real), message
        self.over = isinstance(real[-1], str)


def say_the_same(pair: Pair, commands: list[tuple[str, dict[str, Any]]]) -> None:
    """To all of the commands, or to those before one that ends QEMU."""
    try:
        for name, arguments in commands:
            pair.both(name, arguments)
            pair.alike[name] += 1
            if pair.over:
                return
        for name, arguments in (*LOOKS, ("quit", {})):
            pair.both(name, arguments)
            if pair.over:
                return
    finally:
        pair.real.close()


@given(st.lists(COMMANDS, min_size=1, max_size=12))
@FEW
def monitors_say_the_same(commands: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory(prefix="monitor") as scratch, up_to_not_modelled():
        say_the_same(Pair(Path(scratch)), commands)


def test_both_monitors_say_the_same() -> None:
    again(monitors_say_the_same)


@given(st.lists(COMMANDS, min_size=1, max_size=12))
@FEW
def storage_daemons_say_the_same(commands: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory(prefix="daemon") as scratch, up_to_not_modelled():
        say_the_same(Pair(Path(scratch), BARE_FILES, DAEMON), commands)


@pytest.mark.usefixtures("qemu_storage_daemon")
def test_both_storage_daemons_say_the_same() -> None:
    """The same images without devices: the daemon has none, and not all of the commands."""
    again(storage_daemons_say_the_same)


@given(st.lists(DATA_STEPS, min_size=1, max_size=10))
@FEW
def tell_the_same_of_writes(steps: list[tuple[tuple[str, dict[str, Any]], ...]]) -> None:
    with tempfile.TemporaryDirectory(prefix="data") as scratch, up_to_not_modelled():
        say_the_same(Pair(Path(scratch)), [command for step in steps for command in step])


def test_both_tell_the_same_of_what_guests_write() -> None:
    again(tell_the_same_of_writes)


@given(st.lists(STATES, min_size=1, max_size=12))
@FEW
def save_and_load_the_same(commands: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory(prefix="machine") as scratch, up_to_not_modelled():
        pair = Pair(Path(scratch))
        try:
            for name, arguments in commands:
                pair.both(name, arguments)
                for look, more in (("query-jobs", {}), ("query-status", {}), ("job-dismiss", {"id": "j"}), *LOOKS):
                    pair.both(look, more)
                pair.alike[name] += 1
        finally:
            pair.real.close()


def test_both_save_and_load_the_same_machine() -> None:
    """The job is looked at and dismissed after each command, whatever it was."""
    again(save_and_load_the_same)


def q(name: str, /, **arguments: Any) -> tuple[str, dict[str, Any]]:
    return name, {key.replace("_", "-"): value for key, value in arguments.items()}


OVER_D0 = q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{IMAGES}/new1")
OVER_NEW1 = q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{IMAGES}/new2")
NAMED_OVER_D0 = q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{IMAGES}/new1", snapshot_node_name="ov")
NAMED_OVER_OV = q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{IMAGES}/new2", snapshot_node_name="x2")
A_OVER_N0 = q("blockdev-snapshot", node="n0", overlay="a")
X1 = q("blockdev-add", driver="qcow2", node_name="x1", file={"driver": "file", "filename": f"{IMAGES}/free.qcow2"})
X1_OVER_A = q("blockdev-snapshot", node="a", overlay="x1")
X1_OVER_OV = q("blockdev-snapshot", node="ov", overlay="x1")
SHAPES = [
    [],
    [NAMED_OVER_D0],
    [NAMED_OVER_D0, NAMED_OVER_OV],
    [OVER_D0, NAMED_OVER_OV],
    [A_OVER_N0],
    [A_OVER_N0, NAMED_OVER_D0],
    [A_OVER_N0, NAMED_OVER_D0, NAMED_OVER_OV],
    [X1, X1_OVER_A],
    [X1, X1_OVER_A, NAMED_OVER_D0],
    [X1, NAMED_OVER_D0, X1_OVER_OV],
    [X1, NAMED_OVER_D0, NAMED_OVER_OV],
    [A_OVER_N0, X1, NAMED_OVER_D0, X1_OVER_OV],
]
"""How images may stand on each other, below a device and below none, the monitor's own among them or not."""


@given(st.sampled_from(SHAPES), st.lists(JOINED, min_size=2, max_size=14))
@FEW
def join_the_same_images(shape: list[tuple[str, dict[str, Any]]], commands: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory(prefix="joined") as scratch, up_to_not_modelled():
        say_the_same(Pair(Path(scratch)), [*shape, *commands])


def test_both_join_the_same_images() -> None:
    again(join_the_same_images)


RENAMED = q("change-backing-file", device="d0", image_node_name="n0", backing_file="x")
ADDED_AGAIN = q("blockdev-add", driver="qcow2", node_name="x1", file={"driver": "file", "filename": f"{IMAGES}/new1"})
STREAMED = q("block-stream", device="d0", job_id="k")
FORGOTTEN = q("block-stream", device="d0", job_id="j", auto_dismiss=False)
PENDING = {"job_id": "j", "auto_finalize": False}
GRAPH = q("x-debug-query-block-graph")
FOUND = {
    **{
        f"a stream that nobody has dismissed and {name} of {arguments}": [FORGOTTEN, (name, arguments), GRAPH]
        for name, arguments in (
            q("blockdev-snapshot-internal-sync", device="d0", name="s"),
            q("block-commit", device="d0", job_id="k"),
            q("block-stream", device="d0", job_id="k"),
            OVER_D0,
            A_OVER_N0,
            q("block_resize", device="d0", size=2 << 20),
            RENAMED,
            q("job-dismiss", id="j"),
        )
    },
    "what lay below it stays open": [
        FORGOTTEN,
        q("blockdev-add", driver="qcow2", node_name="x1", file={"driver": "file", "filename": f"{IMAGES}/base.qcow2"}),
    ],
    "what lay between is still its own": [A_OVER_N0, OVER_D0, FORGOTTEN, A_OVER_N0, q("blockdev-del", node_name="n0")],
    "what it stands on by now is not": [
        OVER_D0,
        OVER_NEW1,
        q("block-stream", device="d0", job_id="j", base_node="n0", auto_dismiss=False),
        A_OVER_N0,
        q("blockdev-del", node_name="n0"),
    ],
    "a cancelled job says so": [
        q("block-stream", device="d0", auto_dismiss=False, **PENDING),
        q("job-cancel", id="j"),
        q("query-jobs"),
        q("query-block-jobs"),
    ],
    "the monitor keeps what was streamed over": [A_OVER_N0, OVER_D0, q("block-stream", device="d0", job_id="j"), GRAPH],
    "the monitor keeps what was committed": [
        A_OVER_N0,
        OVER_D0,
        q("block-commit", device="d0", job_id="j", top_node="a"),
        GRAPH,
    ],
    **{
        f"what a pending {name} of {more} holds against {what} of {arguments}": [
            NAMED_OVER_D0,
            *over,
            q(name, device="d0", **PENDING, **more),
            (what, arguments),
        ]
        for name, over, more in (
            ("block-stream", [], {}),
            ("block-stream", [OVER_NEW1], {"base_node": "n0"}),
            ("block-commit", [OVER_NEW1], {}),
            ("block-commit", [OVER_NEW1], {"top_node": "ov"}),
            ("block-commit", [], {"top_node": "n0"}),
        )
        for what, arguments in (
            A_OVER_N0,
            q("blockdev-snapshot", node="ov", overlay="a"),
            q("blockdev-del", node_name="n0"),
            q("blockdev-del", node_name="ov"),
        )
    },
    "an overlay of one that stands elsewhere": [A_OVER_N0, OVER_D0],
    "an overlay of one whose header says something else": [RENAMED, OVER_D0],
    "the other way to get one": [RENAMED, A_OVER_N0],
    "what was streamed into is below the device by now": [
        OVER_D0,
        q("block-stream", device="n0", job_id="j"),
        A_OVER_N0,
    ],
    "a raw image is no overlay, not even of itself": [q("blockdev-snapshot", node="nr", overlay="nr")],
    "an overlay of what a job that is over has worked on": [
        q("block-stream", device="a", job_id="j", auto_dismiss=False),
        A_OVER_N0,
    ],
    "no overlay of what a job works on": [q("block-stream", device="a", auto_dismiss=True, **PENDING), A_OVER_N0],
    "no overlay of what a guest reads through it": [A_OVER_N0, q("blockdev-snapshot", node="a", overlay="n0")],
    "no resize of what something stands on": [OVER_D0, q("block_resize", node_name="n0", size=2 << 20)],
    **{
        f"a commit that nobody has dismissed and {name} of {arguments}": [
            *(NAMED_OVER_D0, NAMED_OVER_OV),
            q("block-commit", device="d0", job_id="j", top_node="ov", base_node="n0", auto_dismiss=False),
            (name, arguments),
            *(GRAPH, q("query-named-block-nodes", flat=True)),
        ]
        for name, arguments in (
            q("blockdev-snapshot-internal-sync", device="d0", name="s"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{IMAGES}/new3"),
            q("blockdev-snapshot", node="n0", overlay="a"),
            q("blockdev-snapshot", node="ov", overlay="a"),
            q("block-stream", device="d0", job_id="k"),
            q("block_resize", device="d0", size=2 << 20),
            q("blockdev-del", node_name="n0"),
            q("job-dismiss", id="j"),
        )
    },
    "a cancelled commit lets go of all": [
        NAMED_OVER_D0,
        q("block-commit", device="d0", top_node="n0", auto_dismiss=False, **PENDING),
        q("job-cancel", id="j"),
        OVER_NEW1,
    ],
    "a commit that was told to end without a pivot does so when it is let": [
        q("block-commit", device="d0", **PENDING),
        q("block-job-cancel", device="j"),
        q("query-block-jobs"),
        q("job-finalize", id="j"),
        q("query-block"),
    ],
    "the human monitor takes a snapshot away while the job works on": [
        q("blockdev-snapshot-internal-sync", device="d1", name="s1"),
        q("block-commit", device="d0", job_id="j"),
        *(
            q("human-monitor-command", command_line=f"snapshot_delete_blkdev_internal {names}")
            for names in ("d0 s1", "d1 gone", "d1 s1")
        ),
    ],
    "what was paused is not when it has been cancelled": [
        q("block-commit", device="d0", job_id="j", auto_dismiss=False),
        q("job-pause", id="j"),
        q("job-cancel", id="j"),
        q("query-block-jobs"),
    ],
    "what a commit could have pivoted to stays open for writing": [
        NAMED_OVER_D0,
        NAMED_OVER_OV,
        q("block-commit", device="d0", job_id="j", base_node="ov"),
        q("block-job-cancel", device="j"),
        q("block-stream", device="d0", **PENDING),
        q("job-cancel", id="j"),
    ],
    "and after the human monitor's commit, too": [
        q("block-commit", device="d0", job_id="j"),
        q("job-cancel", id="j"),
        q("human-monitor-command", command_line="commit d0"),
        q("query-named-block-nodes", flat=True),
    ],
    "and also where only the monitor still keeps what stands on it": [
        A_OVER_N0,
        NAMED_OVER_D0,
        q("block-commit", device="d0", **PENDING),
        q("job-cancel", id="j"),
        q("block-stream", device="d0", job_id="j"),
    ],
    "the monitor keeps what has been pivoted from, and nobody follows its writes": [
        A_OVER_N0,
        q("block-commit", device="d0", job_id="j"),
        q("job-complete", id="j"),
    ],
    "what a stream keeps stands on what everybody stands on": [
        A_OVER_N0,
        NAMED_OVER_D0,
        NAMED_OVER_OV,
        q("block-stream", device="d0", job_id="j", base_node="a", auto_dismiss=False),
        q("block-stream", device="n0", job_id="k", auto_dismiss=False),
        GRAPH,
    ],
    "what stands on an image that is streamed into may go": [
        X1,
        X1_OVER_A,
        q("block-stream", device="a", auto_dismiss=False, **PENDING),
        q("blockdev-del", node_name="x1"),
        q("job-finalize", id="j"),
        q("job-dismiss", id="j"),
    ],
    "a stream opens for writing what nothing stands on, too": [
        X1,
        q("blockdev-snapshot-sync", node_name="x1", snapshot_file=f"{IMAGES}/new1", snapshot_node_name="ov"),
        q("block-stream", device="x1", **PENDING),
    ],
    "the filter of a commit of the root can be written to": [
        A_OVER_N0,
        NAMED_OVER_D0,
        q("block-stream", device="d0", job_id="j"),
        q("block-commit", device="a", job_id="j"),
    ],
    "nobody else may read what a commit would pass over": [
        A_OVER_N0,
        NAMED_OVER_D0,
        q("block-stream", device="d0", job_id="j", base_node="n0"),
        q("block-commit", device="a", job_id="k"),
    ],
    "a filter between two images is in use": [OVER_D0, q("block-stream", device="n0", **PENDING), STREAMED],
    "a filter right above the base, too": [
        NAMED_OVER_D0,
        q("block-stream", device="n0", **PENDING),
        q("block-stream", device="d0", job_id="k", base_node="n0"),
    ],
    "but not that of a commit below the root": [
        NAMED_OVER_D0,
        NAMED_OVER_OV,
        q("block-commit", device="d0", top_node="n0", **PENDING),
        q("block-stream", device="ov", job_id="k"),
    ],
    "the device stands on the filter, and so below it there is even the root": [
        NAMED_OVER_D0,
        q("block-commit", device="d0", **PENDING),
        q("block-stream", device="d0", job_id="k", base_node="ov"),
    ],
    **{
        f"of two jobs that one stops first which stands on the older image: {first} and {second}, {name}": [
            q("blockdev-snapshot-sync", device="d1", snapshot_file=f"{IMAGES}/new1"),
            q("block-commit", device=first, job_id="k"),
            q("block-commit", device=second, job_id="j"),
            (name, arguments),
        ]
        for first, second in (("d0", "d1"), ("d1", "d0"))
        for name, arguments in (q("stop"), q("quit"))
    },
    "jobs are listed as they were begun": [
        q("block-commit", device="d0", job_id="j"),
        q("block-stream", device="n1", **(PENDING | {"job_id": "k"})),
        q("job-pause", id="j"),
        q("query-jobs"),
    ],
    **{
        f"what a pending commit passes over is not read by {name}": [
            NAMED_OVER_D0,
            NAMED_OVER_OV,
            q("block-commit", device="d0", **PENDING),
            (name, arguments),
        ]
        for name, arguments in (
            ADDED_AGAIN,
            q("blockdev-snapshot-sync", device="d1", snapshot_file=f"{IMAGES}/new1"),
        )
    },
}
"""What random commands have come to differ in."""


@pytest.mark.parametrize("commands", FOUND.values(), ids=FOUND)
def test_what_random_commands_have_found_stays_the_same(commands: list[Any], tmp_path: Path) -> None:
    say_the_same(Pair(tmp_path), commands)


@pytest.mark.parametrize("size", ["{many}", "{many}k", "{noughts}2M", "{noughts}2", "16E", "8E", "7E"])
def test_both_read_the_same_sizes_of_a_person(size: str, tmp_path: Path) -> None:
    line = f"block_resize d1 {size.format(many='9' * 5000, noughts='0' * 5000)}"
    say_the_same(Pair(tmp_path), [q("human-monitor-command", command_line=line)])


def test_a_raw_drive_is_in_nobodys_way(tmp_path: Path) -> None:
    """What QEMU says of that drive later is not modelled: its file is no raw image any more."""
    pair = Pair(tmp_path)
    try:
        pair.both(*q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{IMAGES}/raw.img"))
    finally:
        pair.real.close()


@pytest.mark.parametrize(
    "argv", [["info"], ["check"], ["map"], ["snapshot", "-c", "s"], ["create", "-q", "-f", "qcow2"]], ids=" ".join
)
def test_qemu_img_is_told_what_a_commit_lets_nobody_read(argv: list[str], tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    try:
        for name, arguments in (NAMED_OVER_D0, NAMED_OVER_OV, q("block-commit", device="d0", **PENDING)):
            pair.both(name, arguments)
        for image in ("new2", "new1", "top.qcow2", "base.qcow2", "free.qcow2"):
            size = ["1M"] if argv[0] == "create" else []
            real = run(["qemu-img", *argv, f"{tmp_path}/{image}", *size], tmp_path)
            simulated = run_simulated(pair.simulated.board.fs, [*argv, f"{IMAGES}/{image}", *size])
            assert simulated.returncode == real.returncode, image
            assert simulated.stderr == real.stderr.decode().replace(str(tmp_path), IMAGES), image
    finally:
        pair.real.close()
