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


@dataclass(frozen=True)
class WireStory:
    """Bytes to a QEMU that has no images, and every byte of its answers: only so it is seen how these end."""

    name: str
    story: str
    pieces: tuple[str, ...]


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
    images(
        "bitmaps",
        "dirty bitmaps made, changed and told, and what they forbid (qemu.md 46, 82, 83)",
        """
        create -q -f qcow2 a 1M
        create -q -f qcow2 -F qcow2 -b a o
        create -q -f raw r 1M
        create -q -f qcow2 -o compat=0.10 v2 1M
        create -q -f qcow2 -u -F qcow2 -b missing m 1M
        create -q -f qcow2 big 2M
        create -q -f qcow2 -o cluster_size=512 small 1M
        create -q -f qcow2 -o cluster_size=2M large 4M
        bitmap
        bitmap a
        bitmap a b0
        bitmap --add a b0
        info a
        bitmap --add a b0
        bitmap --add -g 32k a b1
        bitmap --disable a b1
        info a
        info --output=json a
        check a
        measure -O qcow2 a
        measure -O qcow2 --output=json a
        bitmap --merge b1 a b0
        bitmap --merge zz a b0
        bitmap --merge b0 a zz
        bitmap --clear a b0
        bitmap --clear a zz
        bitmap --enable a b1
        bitmap --enable a b1
        bitmap --disable --disable a b1
        bitmap --remove a zz
        bitmap --add -g 100 a zz
        bitmap --add -g 256 a zz
        bitmap --add -g 4G a zz
        bitmap --add -g abc a zz
        bitmap --add -g abc --bogus a zz
        bitmap --add --bogus -g abc a zz
        bitmap --add -g 512 a g512
        bitmap --add -g 2G a g2g
        bitmap --add -g 4k --disable --merge b0 a multi
        bitmap -g 4k --clear a multi
        bitmap --add r b
        bitmap --add v2 b
        bitmap --remove r b
        bitmap --add a ''
        bitmap --remove a ''
        bitmap --add gone b
        bitmap --add a b c
        bitmap --bogus a b
        bitmap -z a b
        bitmap --merge
        bitmap --ad a qq
        bitmap -b o --clear a b0
        bitmap --merge b0 -b o a b0
        bitmap --merge b0 -b a o b0
        bitmap --add o b0
        bitmap --merge b0 -b a -F qcow2 o b0
        bitmap --merge b0 -F qcow2 o b0
        bitmap --merge b0 -b r o b0
        bitmap --merge b0 -b gone o b0
        bitmap --merge b0 -b sub o b0
        bitmap --merge b0 -b a a b0
        bitmap --merge b0 -b a -F nosuch o b0
        bitmap --merge b0 -b a r b0
        bitmap -f nosuch --add a b0
        bitmap --add big q
        bitmap --merge q -b big a b0
        bitmap --add m q
        bitmap --add m q -U
        bitmap --merge b0 -b m a b0
        bitmap --add small q
        bitmap --add large q
        info small
        info large
        measure -O qcow2 small
        measure -O qcow2 large
        write a 0 1024
        snapshot -c s a
        snapshot -a s a
        snapshot -a nope a
        snapshot -d s a
        resize a 2M
        resize a 2M
        resize --shrink a 1M
        check --output=json a
        check -r all a
        check -r leaks a
        commit o
        commit -d o
        rebase -b '' o
        rebase -u -F qcow2 -b a o
        convert -O qcow2 a c
        info c
        convert -n -O qcow2 a large
        bitmap --add --disable --merge nope --add m zz
        info m
        bitmap --add -g 1k --add -g 2k m zy
        info m
        bitmap -g 0 --add m g0
        info m
        bitmap --image-opts --add driver=qcow2,file.driver=file,file.filename=a io
        info a
        bitmap --remove a b0
        bitmap --remove a b1
        bitmap --remove --add a b1
        info a""",
    ),
    images(
        "amend",
        "another version, width, size, and what is refused (qemu.md 49, 85)",
        """
        create -q -f qcow2 a 1M
        create -q -f qcow2 -F qcow2 -b a o
        create -q -f raw r 1M
        create -q -f qcow2 -o compat=0.10 v2 1M
        create -f qcow2 -o lazy_refcounts=on lz 1M
        create -f qcow2 -o lazy_refcounts=on,compat=0.10 lz2 1M
        create -f qcow2 -o lazy_refcounts=x lz2 1M
        info lz
        amend
        amend a
        amend -o compat=0.10
        amend -o compat=0.10 a
        info a
        amend -o compat=1.1 a
        amend -o compat=v3 a
        amend -o compat=v2 a
        amend -o compat=9 a
        amend -o lazy_refcounts=on a
        info a
        amend -o compat=1.1 a
        amend -o lazy_refcounts=on a
        info --output=json a
        amend -o compat=0.10 a
        info a
        amend -o lazy_refcounts=on a
        amend -o lazy_refcounts=on,compat=1.1 a
        amend -o lazy_refcounts=off a
        amend -o lazy_refcounts=maybe a
        amend -o nosuch=1 a
        amend -o nosuch=1,cluster_size=1 a
        amend -o size=2M a
        amend -o size=1M a
        amend -o size=abc a
        amend -o size=0 a
        amend -o size=1000000 a
        amend -o cluster_size=4k a
        amend -o refcount_bits=8 a
        amend -o refcount_bits=3 a
        amend -o refcount_bits=abc a
        info a
        amend -o compat=0.10 a
        amend -o compat=0.10,refcount_bits=8 a
        amend -o refcount_bits=16 a
        amend -o backing_file=r a
        amend -o backing_file=r,backing_fmt=raw a
        amend -o backing_fmt=raw a
        amend -o backing_file= o
        amend -o backing_file= a
        amend -o backing_file=a,backing_fmt=qcow2 o
        amend -o backing_file=a o
        amend -o compat=0.10 r
        amend -p -o compat=0.10 r
        amend -p -q -o compat=0.10 r
        amend -f raw -o size=2M r
        amend -q -f qcow2 -o compat=0.10 a
        amend -p -f qcow2 -o compat=0.10 a
        amend -p -f qcow2 -o compat=1.1 a
        amend -p -f qcow2 -o compat=9 a
        amend -p -f qcow2 -o nosuch=9 a
        amend -p -f qcow2 -o compat=0.10 gone
        amend -p -f qcow2 -o compat=0.10
        amend -p -o compat=0.10 -t bogus
        amend -o preallocation=full a
        amend -o encryption=off a
        amend -o encryption=on a
        amend -o extended_l2=on a
        amend -o compression_type=zstd a
        amend -o compat=1.1 gone
        amend -t bogus -o compat=1.1 a
        amend -t none -o compat=1.1 a
        amend -o compat=1.1 a a
        amend -o compat=1.1 -o lazy_refcounts=on a
        amend -o lazy_refcounts=off a
        amend --force -o compat=1.1 a
        amend -f qcow2 -o '' a
        amend -f qcow2 -o 'compat' a
        amend -f qcow2 -o ',compat=1.1' a
        write a 0 65536
        snapshot -c s a
        snapshot -c s a
        amend -o refcount_bits=1 a
        amend -o refcount_bits=2 a
        info a
        check a
        snapshot -c s a
        snapshot -c s a
        amend -o refcount_bits=64 a
        snapshot -c s a
        check a
        amend -o compat=0.10 a
        amend -o compat=0.10,refcount_bits=16 a
        amend -o refcount_bits=16 a
        amend -o compat=0.10,size=2M a
        amend -o compat=0.10,size=1M a
        info a
        amend -o size=2M a
        amend -o compat=1.1,size=2M a
        amend -o compat=0.10 a
        snapshot -a s a
        info a
        amend -o compat=0.10 a
        bitmap --add a b
        amend -o size=4M a
        amend -o lazy_refcounts=on a
        info a""",
    ),
    images(
        "map",
        "which image holds what, for people and as JSON, whole and in part (qemu.md 73 to 75)",
        """
        create -q -f qcow2 a 1M
        create -q -f qcow2 -F qcow2 -b a o
        create -q -f qcow2 -F qcow2 -b a sub/o2 3M
        create -q -f qcow2 -F qcow2 -b ../a sub/o2 3M
        create -q -f qcow2 -o compat=0.10 v2 1M
        create -q -f qcow2 -F qcow2 -b v2 -o compat=0.10 v2o
        write a 65536 131072
        write a 0 65536
        write o 65536 65536
        write o 917504 4096
        write v2 0 4096
        write v2o 700000 4096
        map a
        map o
        map ./o
        map --output=json o
        map sub/o2
        map --output=json sub/o2
        map /images/o
        map -s 70k o
        map -s 65536 -l 65536 o
        map --start-offset=65536 --max-length=1 --output=json o
        map --start-offset=1 --max-length=1 --output=json o
        map --start-offset=2M --output=json o
        map --start-offset=2M o
        map --start-offset=abc o
        map --max-length=abc o
        map --max-length=-1 o
        map --max-length=0 o
        map --max-length=0 --output=json o
        map -s -1 o
        map -s 1 --bogus o
        map -s a --bogus o
        map --bogus -s a o
        map --output=bogus o
        map gone
        map a o
        map
        map -U a
        map -f nosuch a
        map --image-opts driver=qcow2,file.filename=o
        info --image-opts driver=qcow2,file.filename=o
        info --image-opts --backing-chain driver=qcow2,file.filename=o
        map v2
        map v2o
        map --output=json v2o
        rebase -b '' v2o
        map --output=json v2o
        map -s 9E v2o
        map -l 9E v2o
        resize a 9E
        resize a 8E
        create -q -f qcow2 zz 9E
        check -T bogus a
        check -T none a
        check -T bogus
        check -r bogus -T bogus
        check -T bogus gone""",
    ),
    images(
        "progress",
        "what -p prints, and options with bad values",
        """
        create -q -f qcow2 a 1M
        create -q -f qcow2 -F qcow2 -b a o
        create -q -f raw r 1M
        create -q -f qcow2 -o compat=0.10 v2 1M
        write a 65536 131072
        write o 65536 65536
        commit -p o
        commit -p -d o
        commit -p -q o
        commit -p a
        commit -p gone
        commit -p -b gone o
        commit -t bogus o
        commit -t bogus
        commit -t none o
        commit -r abc o
        commit -r abc --bogus
        commit -r 1M o
        commit -p r
        rebase -p -b '' o
        rebase -p -u -F qcow2 -b a o
        rebase -p -b gone -F qcow2 o
        rebase -p -b a -F nosuch o
        rebase -p -b a o
        rebase -p -b a gone
        rebase -p a
        rebase -p -b a
        rebase -p -t bogus -b a gone
        rebase -T bogus -b a gone
        rebase -t bogus -T bogus -b a gone
        rebase -t none -b a -F qcow2 o
        rebase -p -u -b a r
        rebase -p -q -u -b a r
        compare -p a o
        compare -p a v2
        compare -p a gone
        compare -p a
        compare -T bogus a gone
        compare -T bogus a
        compare -p -q a o
        compare -p r v2
        resize --preallocation=bogus a 2M
        resize --preallocation=bogus --bogus a 2M
        resize --preallocation=off a 2M
        resize --preallocation=metadata a 1M
        resize --preallocation=metadata a -2M
        convert -T bogus a z
        convert -T bogus a
        convert -t bogus a z
        info z
        convert -p a z
        convert -p gone z
        convert -p a
        convert -p -l nosnap a z
        convert -p -O nosuch a z
        convert -p -O qcow2 a z
        convert -p -q -O qcow2 a z
        convert -S abc a z
        convert -S 1 a z
        convert -S 4k -O qcow2 a z
        convert -m 0 a z
        convert -m 17 a z
        convert -m x a z
        convert -m 4 -O qcow2 a z
        convert -W -O qcow2 a z
        convert -r abc a z
        convert -r 1M -O qcow2 a z
        convert -p -O qcow2 -n a gone
        convert --bitmaps -O qcow2 a z
        create -q -f qcow2 w 1M
        bitmap --add w b0
        bitmap --add --disable -g 4k w b1
        convert --bitmaps -O qcow2 w x
        info x
        convert --bitmaps -O qcow2 v2 x
        convert --bitmaps -O qcow2 r x
        convert --bitmaps -O qcow2 a x
        convert --skip-broken-bitmaps -O qcow2 a x
        convert --skip-broken-bitmaps
        convert --bitmaps -O qcow2 -l nosnap w x
        convert -p -t bogus w x
        convert -p -T bogus w x
        convert -p -t bogus -n -O qcow2 w gone
        convert -t none -T unsafe -O qcow2 w x""",
    ),
    images(
        "loops",
        "backing files that lead to themselves, opened for writing (qemu.md 28)",
        """
        create -q -f qcow2 a 1M
        create -q -f qcow2 -F qcow2 -b a o
        create -q -f qcow2 -F qcow2 -b o p
        rebase -u -F qcow2 -b o a
        snapshot -c s o
        snapshot -c s a
        info --backing-chain o
        info o
        rebase -F qcow2 -b a o
        rebase -u -F qcow2 -b a a
        snapshot -c s a
        resize a 2M
        bitmap --add a b
        rebase -F qcow2 -b o a
        amend -o compat=v3 a
        commit a
        check -r leaks a
        create -f qcow2 -F qcow2 -b a a
        info --backing-chain a
        rebase -u -b '' a
        snapshot -c s p
        rebase -u -F qcow2 -b p a
        snapshot -c s a
        snapshot -c s p""",
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

WIRES = [
    WireStory(
        "qmp-wire",
        "how messages end, and that nobody needs an id",
        (
            '{"execute":"query-status"}',
            '{"execute":"qmp_capabilities"}',
            '{"execute":"query-status"}',
            '{"execute":"query-status","id":7}',
            '{"execute":"query-name","id":null}{"execute":"nope","id":[1]}',
            '{"execute":"stop"}\n',
            '{"execute":"cont"}\r\n',
            "{bad}",
            '{"execute":"nope"}',
        ),
    )
]
