"""What is recorded from the real tools: stories of command lines and of QMP messages, one trace each.

`nox -s record` runs them on the real tools and writes `traces/NAME.jsonl`; `test_traces` replays those without a tool.
"""

import shlex
from dataclasses import dataclass, field
from typing import Any

from tests.parity.monitors import File

Qmp = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class ImageStory:
    """Command lines of qemu-img in an empty directory; `write NAME OFFSET LENGTH` writes bytes there."""

    name: str
    story: str
    lines: tuple[str, ...]

    @property
    def steps(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.lines]


@dataclass(frozen=True)
class MonitorStory:
    """QMP commands to a QEMU that has these images open."""

    name: str
    story: str
    files: tuple[File, ...]
    steps: tuple[Qmp, ...] = field(default=())


def images(name: str, story: str, text: str) -> ImageStory:
    return ImageStory(name, story, tuple(line.strip() for line in text.strip().splitlines()))


LONG = "x" * 300
BASE = "create -q -f qcow2 a 1M"
OVER = "create -q -f qcow2 -F qcow2 -b a o"

IMAGES = [
    images(
        "create",
        "what create prints, and when it prints it before it fails (qemu.md 1 to 16)",
        """
        create -f qcow2 a 1M
        create -f qcow2 -o compat=0.10 b 1M
        create -f qcow2 -F qcow2 -b a o
        create -f raw r 1M
        create -f qcow2 odd 1000
        create -f qcow2 none
        create -f qcow2 bad -- -1
        create -f qcow2 bad abc
        create -f nosuch bad 1M
        create -f qcow2 -o nosuch=on bad 1M
        create -f qcow2 -o cluster_size=100 bad 1M
        create -f qcow2 -o refcount_bits=3 bad 1M
        create -f qcow2 -b a bad
        create -f qcow2 -F qcow2 -b missing bad
        create -f qcow2 -F qcow2 -b missing -u bad 1M
        create -f qcow2 -F qcow2 -b r bad
        create -f qcow2 -F qcow2 -b a a
        create -f raw -F qcow2 -b a bad
        create -f qcow2 nodir/x 1M
        create -f qcow2 sub 1M
        create
        info --output=json odd""",
    ),
    images(
        "info",
        "text, JSON and chains, and what is absent (qemu.md 19 to 29)",
        f"""
        {BASE}
        {OVER}
        create -q -f raw r 1M
        create -q -f qcow2 -o compat=0.10 b 1M
        info a
        info o
        info --output=json a
        info --output=json o
        info --output=json r
        info --output=json b
        info --output=json --backing-chain o
        info --backing-chain o
        snapshot -c s1 a
        info --output=json a
        info gone
        info -f qcow2 r
        info sub
        info
        info --output=xml a
        rebase -u -b missing -F qcow2 o
        info --output=json o
        info --backing-chain o""",
    ),
    images(
        "snapshot-tags",
        "ids before names, doubled, empty, long and numeric tags (qemu.md 32 to 40)",
        f"""
        {BASE}
        snapshot -l a
        snapshot -c dup a
        snapshot -c dup a
        snapshot -c dup a
        snapshot -c 3 a
        snapshot -c '' a
        snapshot -c {LONG} a
        snapshot -c -x a
        snapshot -c 'a b/ü' a
        snapshot -l a
        snapshot -a 3 a
        snapshot -d 3 a
        snapshot -d dup a
        snapshot -d '' a
        snapshot -d {LONG} a
        snapshot -d {LONG[:255]} a
        snapshot -d nope a
        snapshot -a nope a
        snapshot -l a
        snapshot a
        snapshot -l -c x a
        snapshot -U -c x a
        snapshot -z a
        snapshot -c
        info --output=json a""",
    ),
    images(
        "snapshot-ids",
        "an apply takes a name for an id, and the id of the last is given again (qemu.md 33, 35)",
        f"""
        {BASE}
        snapshot -c one a
        resize a 2M
        snapshot -c 1 a
        resize a 3M
        snapshot -a 1 a
        info --output=json a
        snapshot -d 1 a
        snapshot -c two a
        snapshot -d one a
        snapshot -c three a
        snapshot -l a""",
    ),
    images(
        "snapshot-raw",
        "a raw image has none, and each try warns (qemu.md 41)",
        """
        create -q -f raw r 1M
        snapshot -l r
        snapshot -c s1 r
        snapshot -a s1 r
        snapshot -d s1 r""",
    ),
    images(
        "snapshot-sizes",
        "the size comes back with a snapshot, not in version 2 (qemu.md 47, 48, 70 to 72)",
        f"""
        {BASE}
        create -q -f qcow2 -o compat=0.10 b 1M
        write a 0 1048576
        snapshot -c s a
        snapshot -c s b
        resize a 64k
        resize --shrink a 64k
        resize b 2M
        snapshot -a s a
        resize a +1M
        resize a 0
        resize a abc
        compare a b
        info --output=json a""",
    ),
    images(
        "snapshot-overlay",
        "a snapshot of an overlay shows another base after a commit or rebase (qemu.md 51)",
        f"""
        {BASE}
        {OVER}
        write a 0 131072
        snapshot -c pre o
        write o 0 65536
        commit o
        snapshot -a pre o
        compare a o
        create -q -f qcow2 n 1M
        rebase -b n -F qcow2 o
        rebase -u -b '' o
        map --output=json -f qcow2 o
        info --output=json o""",
    ),
    images(
        "narrow-refcounts",
        "few bits of refcount forbid snapshots and leak a cluster (qemu.md 44)",
        """
        create -q -f qcow2 -o refcount_bits=1 a 1M
        snapshot -c s1 a
        write a 0 65536
        snapshot -c s2 a
        check a
        check --output=json a
        check -r leaks a
        check a""",
    ),
    images(
        "commit",
        "which clusters stay and which words come (qemu.md 60 to 64)",
        f"""
        {BASE}
        {OVER}
        create -q -f qcow2 -F qcow2 -b o p
        write p 65536 65536
        commit a
        commit -b gone p
        commit -b p p
        commit -b a p
        map --output=json -f qcow2 p
        commit -d p
        commit -q p
        map --output=json -f qcow2 p
        compare a p
        create -q -f qcow2 -F qcow2 -b a large 2M
        commit large
        info --output=json a""",
    ),
    images(
        "rebase",
        "what is checked and what is not (qemu.md 65 to 69)",
        f"""
        {BASE}
        {OVER}
        create -q -f qcow2 n 1M
        write a 0 65536
        write n 65536 65536
        rebase -b n -F qcow2 o
        rebase -b a o
        rebase -u -b missing -F qcow2 o
        snapshot -c s o
        rebase -u -b a -F nosuch o
        rebase -b missing -F qcow2 o
        rebase -u -b a -F qcow2 o
        rebase -b o -F qcow2 o
        rebase o
        rebase -b '' o
        info --output=json o""",
    ),
    images(
        "copies",
        "convert, measure and compare, of snapshots, too (qemu.md 57, 58, 76, 84)",
        f"""
        {BASE}
        create -q -f raw r 1M
        write a 0 65536
        snapshot -c s1 a
        write a 65536 65536
        convert -l s1 -O qcow2 a c
        compare a c
        convert -l nope -O qcow2 a d
        convert -l snapshot.id=1 -O qcow2 a d
        convert -l snapshot.nme=1 -O qcow2 a d
        convert -l s1 -O qcow2 r d
        compare c d
        measure --output=json -O qcow2 a
        measure --output=json -O qcow2 -l s1 a
        measure --output=json -O raw a
        measure --output=json -O qcow2 --size 10G
        convert -O nosuch a e
        check --output=json c
        check r""",
    ),
]

ONE = (File("base.qcow2"), File("top.qcow2", backing="base.qcow2", device="d0", node="n0"))
TWO = (*ONE, File("raw.img", "raw", device="r0", node="nr"), File("bare.qcow2", node="a"), File("free.qcow2"))
P = "/images"


def q(execute: str, **arguments: Any) -> Qmp:
    return execute, {key.replace("_", "-"): value for key, value in arguments.items()}


def action(kind: str, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": {key.replace("_", "-"): value for key, value in data.items()}}


def added(node: str, file: str, **more: Any) -> Qmp:
    """An image of its own, opened without what stands below it."""
    opened = {"driver": "file", "filename": f"{P}/{file}"}
    return q("blockdev-add", driver="qcow2", node_name=node, file=opened, backing=None, **more)


def machine(verb: str, tag: str, *devices: str, vmstate: str = "n0", job: str = "j") -> tuple[Qmp, ...]:
    """A job on the whole machine's state, how it has ended, how the machine stands, and that it is forgotten."""
    more = {} if verb == "delete" else {"vmstate": vmstate}
    started = q(f"snapshot-{verb}", job_id=job, tag=tag, devices=list(devices), **more)
    return started, q("query-jobs"), q("query-status"), q("job-dismiss", id=job)


OVERLAID = action("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1")

MONITORS = [
    MonitorStory(
        "qmp-internal",
        "internal snapshots, the order of looks, and their words (qemu.md 110 to 121)",
        TWO,
        (
            q("blockdev-snapshot-internal-sync", device="d0", name="s1"),
            q("blockdev-snapshot-internal-sync", device="d0", name="s1"),
            q("blockdev-snapshot-internal-sync", device="n0", name="1"),
            q("blockdev-snapshot-internal-sync", device="d0", name=""),
            q("blockdev-snapshot-internal-sync", device="r0", name=""),
            q("blockdev-snapshot-internal-sync", device="nope", name="s"),
            q("blockdev-snapshot-internal-sync", device="d0"),
            q("blockdev-snapshot-internal-sync", device="d0", name="s", id="1"),
            q("blockdev-snapshot-internal-sync", device=1, name="s"),
            q("query-named-block-nodes", flat=True),
            q("blockdev-snapshot-delete-internal-sync", device="d0"),
            q("blockdev-snapshot-delete-internal-sync", device="d0", name="nope"),
            q("blockdev-snapshot-delete-internal-sync", device="d0", id="1", name="1"),
            q("blockdev-snapshot-delete-internal-sync", device="d0", id="2"),
            q("blockdev-snapshot-delete-internal-sync", device="d0", name="s1"),
            q("blockdev-snapshot-delete-internal-sync", device="r0", name="s1"),
            q("query-block"),
        ),
    ),
    MonitorStory(
        "qmp-external",
        "overlays by file and by node (qemu.md 124 to 140)",
        TWO,
        (
            q("blockdev-snapshot-sync", node_name="n0", snapshot_file=f"{P}/o1"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", snapshot_node_name="bad name"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", snapshot_node_name="a"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/nodir/o1"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/top.qcow2"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", format="raw"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", snapshot_node_name="o1"),
            q("blockdev-snapshot-internal-sync", device="n0", name="s"),
            q("blockdev-snapshot-sync", node_name="n0", snapshot_file=f"{P}/o2", snapshot_node_name="o2"),
            q("blockdev-add", driver="qcow2", node_name="f", file={"driver": "file", "filename": f"{P}/free.qcow2"}),
            q("blockdev-snapshot", node="d0", overlay="f"),
            q("blockdev-snapshot", node="f", overlay="f"),
            q("query-block"),
            q("query-named-block-nodes"),
            q("blockdev-del", node_name="f"),
            q("blockdev-del", node_name="nope"),
            q("blockdev-snapshot-sync", node_name="a", snapshot_file=f"{P}/o3", snapshot_node_name="o3"),
            q("blockdev-snapshot-internal-sync", device="a", name="s"),
            q("query-named-block-nodes", flat=True),
        ),
    ),
    MonitorStory(
        "qmp-locks",
        "an image that is open, its base, too, is locked against this very QEMU (qemu.md 88 to 94, 129)",
        TWO,
        (
            added("x", "top.qcow2"),
            added("x", "top.qcow2", read_only=True),
            added("x", "base.qcow2"),
            added("x", "base.qcow2", read_only=True),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/bare.qcow2"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/bare.qcow2", mode="existing"),
            q("blockdev-del", node_name="a"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/bare.qcow2", mode="existing"),
            q("query-block"),
        ),
    ),
    MonitorStory(
        "qmp-left-behind",
        "a command that fails has made its overlay all the same (qemu.md 128)",
        TWO,
        (
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", mode="existing"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", snapshot_node_name="bad name"),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", mode="existing"),
            q("block_resize", device="d0", size=1 << 19),
        ),
    ),
    MonitorStory(
        "qmp-transaction",
        "all or nothing, but files stay (qemu.md 146 to 154)",
        TWO,
        (
            q("transaction", actions=[]),
            q(
                "transaction",
                actions=[action("blockdev-snapshot-internal-sync", device="d0", name="t"), action("abort")],
            ),
            q("query-named-block-nodes", flat=True),
            q(
                "transaction",
                actions=[action("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1"), action("abort")],
            ),
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", mode="existing"),
            q(
                "transaction",
                actions=[
                    action("blockdev-snapshot-internal-sync", device="d0", name="t"),
                    action("blockdev-snapshot-internal-sync", device="d0", name="t"),
                ],
            ),
            q("transaction", actions=[action("blockdev-add", driver="qcow2")]),
            q("transaction", actions=[action("blockdev-snapshot-internal-sync", device="d0")]),
            q("transaction", actions=[action("abort")], properties={"completion-mode": "grouped"}),
            q(
                "transaction",
                actions=[
                    action("blockdev-snapshot-internal-sync", device="d0", name="t"),
                    action("blockdev-snapshot-internal-sync", device="r0", name="t"),
                ],
            ),
            q("query-block"),
        ),
    ),
    MonitorStory(
        "qmp-abort",
        "two points of one device, taken back, kill QEMU (qemu.md 153)",
        ONE,
        (
            q(
                "transaction",
                actions=[
                    action("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1"),
                    action("blockdev-snapshot-internal-sync", device="d0", name="t"),
                    action("abort"),
                ],
            ),
        ),
    ),
    MonitorStory(
        "qmp-stream-forgotten",
        "a stream that nobody has dismissed lets the next look kill QEMU",
        ONE,
        (
            q("block-stream", device="d0", job_id="j", auto_dismiss=False),
            q("query-jobs"),
            q("query-block"),
            q("query-named-block-nodes", flat=True),
        ),
    ),
    MonitorStory(
        "qmp-machine",
        "the machine's state saved, loaded and deleted: always answered well, and what has failed (qemu.md 171 to 175)",
        TWO,
        (
            *machine("save", "one", "n0", "a"),
            *machine("save", "one", "n0", "a"),
            *machine("save", "one", "n0", "nr"),
            *machine("save", "two", "n0"),
            *machine("save", "two", "n0", "a"),
            *machine("save", "x", "zz"),
            *machine("save", "x", "a"),
            *machine("save", "x"),
            q("snapshot-save", job_id="bad id", tag="x", vmstate="n0", devices=[]),
            q("snapshot-save", job_id="j", tag="x", devices=[]),
            q("query-named-block-nodes", flat=True),
            q("block_resize", node_name="n0", size=2 << 20),
            q("snapshot-load", job_id="j", tag="one", vmstate="n0", devices=["n0", "a"]),
            q("job-cancel", id="j"),
            q("job-resume", id="j"),
            q("block-job-cancel", device="j"),
            q("query-block-jobs"),
            q("job-dismiss", id="j"),
            q("query-block"),
            *machine("load", "none", "n0"),
            *machine("load", "one", "n0", "a", vmstate="a"),
            q("stop"),
            q("cont"),
            *machine("delete", "none", "n0"),
            *machine("delete", "two", "n0", "a"),
            *machine("delete", "two", "nr"),
            q("query-named-block-nodes", flat=True),
        ),
    ),
    MonitorStory(
        "qmp-tag-for-id",
        "a load takes a tag for an id, and so reverts the disk to another snapshot than it takes the state from",
        TWO,
        (
            q("blockdev-snapshot-internal-sync", device="d0", name="a disk only"),
            *machine("save", "two", "n0"),
            q("block_resize", node_name="n0", size=2 << 20),
            *machine("save", "2", "n0"),
            *machine("save", "1", "n0"),
            *machine("load", "2", "n0"),
            q("query-named-block-nodes", flat=True),
            *machine("load", "1", "n0"),
            q("query-named-block-nodes", flat=True),
        ),
    ),
    MonitorStory(
        "qmp-load-half-way",
        "a load that fails on one disk has reverted those before it, and leaves the machine stopped",
        TWO,
        (
            *machine("save", "one", "n0", "a"),
            q("block_resize", node_name="n0", size=2 << 20),
            q("block_resize", node_name="a", size=2 << 20),
            q("block-dirty-bitmap-add", node="a", name="b"),
            *machine("load", "one", "n0", "a"),
            q("query-named-block-nodes", flat=True),
        ),
    ),
    MonitorStory(
        "qmp-bitmaps",
        "bitmaps, alone and in transactions, and what they forbid",
        TWO,
        (
            q("block-dirty-bitmap-add", node="d0", name="b"),
            q("block-dirty-bitmap-add", node="n0", name="b"),
            q("block-dirty-bitmap-add", node="n0", name=""),
            q("block-dirty-bitmap-add", node="zz", name="b"),
            q("block-dirty-bitmap-add", node="n0", name="c", granularity=100),
            q("block-dirty-bitmap-add", node="n0", name="c", granularity=-1),
            q("block-dirty-bitmap-add", node="n0", name="c", granularity="x"),
            q("block-dirty-bitmap-add", node="n0", name="c", granularity=4096, disabled=True),
            q("block-dirty-bitmap-add", node="nr", name="c", persistent=True),
            q("block-dirty-bitmap-add", node="nr", name="c"),
            q("query-named-block-nodes", flat=True),
            q("block-dirty-bitmap-enable", node="n0", name="c"),
            q("block-dirty-bitmap-disable", node="n0", name="b"),
            q("block-dirty-bitmap-clear", node="n0", name="zz"),
            q("block-dirty-bitmap-clear", node="zz", name="zz"),
            q("block-dirty-bitmap-clear", node="n0", name="b"),
            q("block-dirty-bitmap-merge", node="n0", target="b", bitmaps=["c", {"node": "nr", "name": "c"}]),
            q("block-dirty-bitmap-merge", node="n0", target="b", bitmaps=[1]),
            q("block-dirty-bitmap-merge", node="n0", target="b", bitmaps=[{"node": "nr"}]),
            q("block-dirty-bitmap-merge", node="n0", target="zz", bitmaps=[]),
            q("block_resize", node_name="nr", size=2 << 20),
            q("block-dirty-bitmap-merge", node="n0", target="b", bitmaps=[{"node": "nr", "name": "c"}]),
            q(
                "transaction",
                actions=[
                    action("block-dirty-bitmap-add", node="n0", name="t"),
                    action("block-dirty-bitmap-disable", node="n0", name="c"),
                    action("block-dirty-bitmap-merge", node="n0", target="t", bitmaps=["b"]),
                    action("abort"),
                ],
            ),
            q(
                "transaction",
                actions=[
                    action("block-dirty-bitmap-remove", node="n0", name="b"),
                    action("block-dirty-bitmap-add", node="n0", name="b"),
                ],
            ),
            q(
                "transaction",
                actions=[
                    action("block-dirty-bitmap-remove", node="n0", name="b"),
                    action("block-dirty-bitmap-clear", node="n0", name="b"),
                ],
            ),
            q(
                "transaction",
                actions=[
                    action("blockdev-snapshot-internal-sync", device="d0", name="s"),
                    action("block-dirty-bitmap-remove", node="n0", name="b"),
                    action("block-dirty-bitmap-enable", node="n0", name="c"),
                ],
            ),
            q("query-block"),
            q("block-commit", device="d0", job_id="j"),
            q("block-dirty-bitmap-add", node="n0", name="late"),
            q("query-named-block-nodes", flat=True),
            q("job-cancel", id="j"),
            q("query-named-block-nodes", flat=True),
            q("block-dirty-bitmap-remove", node="n0", name="c"),
            q("block-dirty-bitmap-remove", node="n0", name="c"),
        ),
    ),
    MonitorStory(
        "qmp-merge-of-nothing",
        "a merge of no bitmaps at all kills QEMU",
        ONE,
        (
            q("block-dirty-bitmap-add", node="n0", name="b"),
            q("block-dirty-bitmap-merge", node="n0", target="b", bitmaps=[]),
        ),
    ),
    MonitorStory(
        "qmp-enable-of-nothing",
        "in a transaction, a bitmap to be enabled that is not there kills QEMU; alone it is refused",
        ONE,
        (
            q("block-dirty-bitmap-enable", node="n0", name="b"),
            q("transaction", actions=[action("block-dirty-bitmap-disable", node="n0", name="b")]),
            q("transaction", actions=[action("block-dirty-bitmap-enable", node="n0", name="b")]),
        ),
    ),
    MonitorStory(
        "qmp-commit",
        "an active commit from beginning to pivot (qemu.md 157 to 168)",
        TWO,
        (
            q("block-commit", device="nope", job_id="j"),
            q("block-commit", device="n0"),
            q("block-commit", device="n0", job_id="bad id"),
            q("block-commit", device="d0", job_id="j", base=f"{P}/top.qcow2"),
            q("block-commit", device="d0", job_id="j", top=f"{P}/gone"),
            q("block-commit", device="a", job_id="j"),
            q("block-commit", device="d0", job_id="j", speed=-1),
            q("block-commit", device="d0", job_id="j"),
            q("block-commit", device="d0", job_id="j"),
            q("query-jobs"),
            q("query-block-jobs"),
            q("job-dismiss", id="j"),
            q("job-resume", id="j"),
            q("job-cancel", id="zz"),
            q("block-job-cancel", device="zz"),
            q("job-complete", id="j"),
            q("query-block"),
            q("query-named-block-nodes", flat=True),
        ),
    ),
    MonitorStory(
        "qmp-flush",
        "what a stream has filled is made durable, which only the human monitor can be asked for",
        TWO,
        (
            q("human-monitor-command", command_line="qemu-io d0 flush"),
            q("human-monitor-command", command_line="qemu-io n0 flush"),
            q("human-monitor-command", command_line="qemu-io nope flush"),
            q("human-monitor-command"),
        ),
    ),
    MonitorStory(
        "qmp-stream",
        "streams, and what is refused while one waits to be finished",
        TWO,
        (
            q("blockdev-snapshot-sync", device="d0", snapshot_file=f"{P}/o1", snapshot_node_name="o1"),
            q("block-stream", device="nope", job_id="j"),
            q("block-stream", device="d0", job_id="j", base="zz"),
            q("block-stream", device="d0", job_id="j", base_node="o1"),
            q("block-stream", device="d0", job_id="j", base_node="n0", bottom="n0"),
            q("block-stream", device="d0", job_id="j", backing_file="x"),
            q("block-stream", device="d0", job_id="j", base_node="n0", auto_finalize=False),
            q("query-jobs"),
            q("blockdev-snapshot-internal-sync", device="d0", name="s"),
            q("job-finalize", id="j"),
            q("block-stream", device="d0", job_id="j"),
            q("query-block"),
        ),
    ),
    MonitorStory(
        "qmp-session",
        "negotiation, questions and stops",
        TWO,
        (
            q("qmp_capabilities"),
            q("nope"),
            q("query-version"),
            q("query-name"),
            q("query-status"),
            q("stop"),
            q("stop"),
            q("query-status"),
            q("cont"),
            q("query-jobs", bogus=1),
            q("query-named-block-nodes", flat="x"),
            q("block_resize", node_name="a", size=-1),
            q("block_resize", node_name="a", size=1000),
            q("block_resize", node_name="a", size=2097152),
            q("change-backing-file", device="d0", image_node_name="n0", backing_file="elsewhere"),
            q("x-debug-query-block-graph"),
            q("query-block"),
            q("quit"),
        ),
    ),
]
