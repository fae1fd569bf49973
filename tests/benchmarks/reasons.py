"""Why a goal that is missed is missed, as far as it has been looked into. `figures` prints those of the missed ones."""

from tests.benchmarks.race import Goal

UNKNOWN = "It has not been looked into yet."

REASONS = {
    ("G1", "inspect"): """
        An entry of a snapshot table takes 0.6 µs, where qemu-img reads four times for each (strace).
    """,
    ("G1", "read a chain"): """
        A layer takes 11 to 13 µs: open, fstat, one read and close, and a header with every bound that QEMU
        checks. qemu-img takes about 0.7 ms for one. That is 54 to 64 times as much, so there is nothing to
        spare.
    """,
    ("G2", "read a chain"): """
        From 10 to 500 layers the cost of one goes from 11 to 13 µs, with the garbage collector switched off,
        too; most likely because so many names and inodes no longer fit into the caches.
    """,
    ("G3", "depth 500 against 1, without"): """
        The chain is read to its base, 500 layers of 13 µs, beside the one qemu-img that makes the overlay in
        about 10 ms: 1.65 times. A limit of 1.5 leaves 10 µs for a layer.
    """,
    ("G4", "whole engine"): """
        One qemu-img is started for each disk, as the script does, and nothing is looked at by a program. On top
        come six waits for the disk (the image, and five for journal, record and decision) and 4,700 calls of
        Python functions for one disk, about 3 ms beside the 9 to 14 ms of one qemu-img. Several disks are done
        side by side, as far as there are idle cores.
    """,
    ("G6", "`query-status`"): """
        The library passes each message through two tasks and writes it out twice for a log that nobody reads
        (qemu.qmp 0.0.6, protocol.py: `str(msg)` is made before the logger is asked): 94 µs of processor time
        for a command, against 20 µs over a bare socket.
    """,
    ("G7", "create, growth"): """
        By design everything is read before anything is planned, and a plan holds the hash of what was read. For
        one snapshot more of four disks that is a record read (3 µs), its place in the tree (1 µs), 3 kilobytes
        in the hash (6 µs), and being looked through for names, tags, kinds and paths. To leave some of it out
        would take a second source of truth beside the records.
    """,
    ("G7", "create"): """
        A create of four disks passes through 89 effects with 10 snapshots and through 179 with 100, each of
        which can be seen, failed and cut, and runs four programs of three steps each, which alone take 0.12 ms:
        5,500 calls of Python functions, 0.9 ms. 1.5 times what libvirt's driver takes would be about 0.45 ms, 5
        µs for an effect.
    """,
    ("G7", "revert"): """
        A revert takes a safety snapshot of each disk first, so that it can be undone until it is decided and
        after that, and removes the one of the revert before: 149 effects with 10 snapshots and 12 programs of
        44 steps, which is three times a create's.
    """,
    ("G7", "list"): """
        Each record is a file that is read through the port and looked at whether it stands where it belongs: 3
        µs. libvirt's driver has the names in memory, 1.5 µs each. Records are not believed to be what they
        were.
    """,
    ("G8", "create"): """
        A snapshot of one image is a child process: the gate, the locks that it inherits, three steps, each of
        them a world in which it can be killed, and its end. That is 370 calls of Python functions in 31 µs.
        Twenty times faster than libvirt's driver would be 4 µs for each of the four. The limit was taken from a
        prototype that had contents and neither processes nor steps.
    """,
    ("G8", "revert"): """
        As for a create, with five steps in place of three: 40 µs an image, where the limit would be 2 or 3.
    """,
    ("G9", ""): """
        Before each access it is made sure that every image of the chain is the very one that was remembered: a
        loop in C, some 0.1 µs a layer. The chain is not walked anew.
    """,
    ("G10", "deaths a second"): """
        A death and its recovery pass through 40 effects and run 4.4 programs on average, mostly checks and
        deletions in the four images, since a recovery looks instead of believing the journal: 2,750 calls of
        Python functions, 0.38 ms. 6,000 a second is 0.17 ms, and the programs alone take 0.14 ms. Run anew, a
        whole create comes on top, whose world is kept at each cut.
    """,
    ("G11", "share of what the checks"): """
        After every step the contents of all disks and of all snapshots are asked for and compared with the
        oracle, and what is reached and what leaks is counted. That is the purpose of the run; the operations
        themselves are within the limit.
    """,
    ("G12", "checkpoint"): """
        The memory is written once, by the same command. What the engine adds does not depend on its size: 14
        connections to the monitor, since QEMU serves one client at a time and others must get their turn, and
        the journal; 50 to 75 ms of processor time. 3 % of 1 GiB at 1.2 GB/s are 27 ms. From about 3 GiB on it
        is met.
    """,
    ("G13", ""): """
        `python3 -c pass` executes 39 million instructions. The import of click alone makes it 171 million, 4.3
        times as many, and with msgspec 206 million, 5.2 times. So nothing that is built on click meets 4 times.
        `--help` executes 216 million, `list` 361 million; what is ours of that are the records, a host and its
        formats.
    """,
}
"""By the id of a goal and how it begins; the first that fits counts. Line breaks mean nothing."""


def reason_for(goal: Goal) -> str:
    """The reason why this goal is missed."""
    fitting = (why for (name, begins), why in REASONS.items() if name == goal.id and goal.says.startswith(begins))
    return " ".join(next(fitting, UNKNOWN).split())
