"""The state machine: a domain that is written, resized, snapshotted, reverted and pruned, on one bench or on several.

The oracle is a plain dictionary of what every disk held when each snapshot was taken. After every step each disk and
each snapshot must hold exactly what the oracle says (design 5.1, 5.3), each snapshot must still have a revert plan and
a delete plan (5.3, no dead ends), and no file may be left that nothing needs.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.stateful.benches import CLUSTER, DOMAIN, SECTOR, Bench, Content
from tests.stateful.tree import Tree
from xensnap.engine.request import CreateRequest, DeleteRequest, DiskChoice, RenameRequest, RevertRequest
from xensnap.engine.view import View
from xensnap.errors import Refused, XensnapError
from xensnap.model import Format, Kind

VDEVS = ("xvda", "xvdb", "xvdc", "xvdd")
NAMES = ("a", "b", "1", "2", "with space", "ünïcode", "%", "s~2", "10")
SECTORS = CLUSTER // SECTOR
STEPS: dict[str, int] = {}
"""How often each rule has run, over all machines of this process."""

DISKS = st.lists(
    st.tuples(
        st.sampled_from([Format.QCOW2, Format.QCOW2, Format.RAW]),
        st.sampled_from([512, 4096, CLUSTER, CLUSTER, 2 << 20]),
        st.sampled_from(["0.10", "1.1", "1.1"]),
        st.integers(1, 6),
    ),
    min_size=1,
    max_size=4,
)
KINDS = st.sampled_from([None, None, Kind.INTERNAL, Kind.EXTERNAL])
MAY_REFUSE = {"kind-is-sticky", "not-qcow2"}
"""What a create of a kind that does not fit may be refused for; nothing else is ever refused here."""


def counted(name: str) -> None:
    STEPS[name] = STEPS.get(name, 0) + 1


class SnapshotMachine(RuleBasedStateMachine):
    """Subclasses say on which benches."""

    make_benches: Callable[[], Iterable[Bench]]

    def __init__(self) -> None:
        super().__init__()
        self.benches: tuple[Bench, ...] = tuple(type(self).make_benches())
        self.now: dict[str, Content] = {}
        self.saved: dict[str, dict[str, Content]] = {}
        self.tree = Tree()
        self.writes = 0
        self.v2: set[str] = set()

    # Given -----------------------------------------------------------------------------------------------------------

    @initialize(disks=DISKS)
    def define_the_domain(self, disks: list[tuple[Format, int, str, int]]) -> None:
        for vdev, (layer_format, cluster_size, compat, clusters) in zip(VDEVS, disks, strict=False):
            options: dict[str, object] = {}
            if layer_format is Format.QCOW2:
                options = {"cluster_size": cluster_size, "compat": compat}
                if compat == "0.10":
                    self.v2.add(vdev)
            for bench in self.benches:
                bench.add_disk(vdev, layer_format, clusters * CLUSTER, **options)
            self.now[vdev] = (0,) * (clusters * SECTORS)
        for bench in self.benches:
            bench.make_domain()

    # When: the guest and the operator --------------------------------------------------------------------------------

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        vdev = data.draw(st.sampled_from(sorted(self.now)))
        before = self.now[vdev]
        start = data.draw(st.integers(0, len(before) - 1))
        count = data.draw(st.integers(1, min(len(before) - start, 200)))
        self.writes += 1
        for bench in self.benches:
            bench.write(vdev, start, count, self.writes)
        self.now[vdev] = before[:start] + (self.writes,) * count + before[start + count :]
        counted("write")

    @rule(data=st.data(), clusters=st.integers(1, 8))
    def resize(self, data: st.DataObject, clusters: int) -> None:
        vdev = data.draw(st.sampled_from(sorted(self.now)))
        disk = self.benches[0].engine.view(DOMAIN).chain(vdev)
        if disk is None or (disk.active.compat == "0.10" and disk.active.snapshots):
            return  # qemu-img 7.2.22: "Can't resize a v2 image which has snapshots"
        if vdev in self.v2 and disk.active.backing is not None:
            return  # "Failed to zero out new clusters: Operation not supported"
        if disk.active.cluster_size_bytes > CLUSTER and clusters * SECTORS < len(self.now[vdev]):
            return  # QEMU 7.2.22 keeps the rest of the last cluster, and shows it again after the next grow
        for bench in self.benches:
            bench.resize(vdev, clusters * CLUSTER)
        before = self.now[vdev][: clusters * SECTORS]
        self.now[vdev] = before + (0,) * (clusters * SECTORS - len(before))
        counted("resize")

    # When: snapshots -------------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(NAMES), kind=KINDS, skip=st.sampled_from([None, None, None, *VDEVS]), planned=st.booleans()
    )
    def create(self, name: str, kind: Kind | None, skip: str | None, planned: bool) -> None:
        left_out = skip if skip in self.now and len(self.now) > 1 else None
        request = CreateRequest(
            name=name,
            kind=kind,
            disks={left_out: DiskChoice(skip=True)} if left_out else {},
            disk_only=left_out is not None,
        )
        refused = {self._outcome(bench, "create", request, planned=planned) for bench in self.benches}
        assert len(refused) == 1, f"the benches disagree: {refused}"
        ids = next(iter(refused))
        if name in self.saved:
            assert "name-taken" in ids
        else:
            assert set(ids) <= MAY_REFUSE, ids
        if ids:
            return
        self.saved[name] = {vdev: content for vdev, content in self.now.items() if vdev != left_out}
        self.tree.created(name)
        counted("create")

    @precondition(lambda self: self.saved)
    @rule(data=st.data(), planned=st.booleans())
    def revert(self, data: st.DataObject, planned: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.saved)))
        for bench in self.benches:
            assert self._outcome(bench, "revert", RevertRequest(name), planned=planned) == ()
        self.now.update(self.saved[name])
        self.tree.current = name
        counted("revert")

    @precondition(lambda self: self.saved)
    @rule(
        data=st.data(), how=st.sampled_from(["one", "one", "one", "children", "children_only"]), planned=st.booleans()
    )
    def delete(self, data: st.DataObject, how: str, planned: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.saved)))
        gone = self.tree.chosen(name, how)
        request = DeleteRequest(name, children=how == "children", children_only=how == "children_only")
        for bench in self.benches:
            ids = self._outcome(bench, "delete", request, planned=planned)
            assert ids == (() if gone else ("no-children",))
        self.tree.deleted(gone)
        for victim in gone:
            del self.saved[victim]
        counted("delete")

    @precondition(lambda self: self.saved)
    @rule(data=st.data(), new=st.sampled_from(NAMES), planned=st.booleans())
    def rename(self, data: st.DataObject, new: str, planned: bool) -> None:
        old = data.draw(st.sampled_from(sorted(self.saved)))
        for bench in self.benches:
            ids = self._outcome(bench, "perform", RenameRequest(old, new), planned=planned)
            assert ids == (("name-taken",) if new in self.saved else ())
        if new in self.saved:
            return
        self.saved[new] = self.saved.pop(old)
        self.tree.renamed(old, new)
        counted("rename")

    def _outcome(self, bench: Bench, verb: str, request: Any, *, planned: bool) -> tuple[str, ...]:
        """The ids of the reasons for a refusal; none where it was done."""
        try:
            if planned:
                bench.engine.apply(bench.engine.plan(DOMAIN, request))
            else:
                getattr(bench.engine, verb)(DOMAIN, request)
        except Refused as error:
            return tuple(reason.id for reason in error.reasons)
        return ()

    # Then ------------------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if self.now:
            for bench in self.benches:
                self._contents_are_right(bench)
                self._tree_is_right(bench)
                self._nothing_is_stuck_or_left(bench)

    def _contents_are_right(self, bench: Bench) -> None:
        view = bench.engine.view(DOMAIN)
        for disk in view.domain.disks:
            assert bench.content(disk.layer) == self.now[disk.vdev], f"{disk.vdev} now"
        for name, expected in self.saved.items():
            snapshot = view.snapshots[name]
            assert {disk.vdev for disk in snapshot.disks} == set(expected)
            for part in snapshot.disks:
                assert bench.kept(part) == expected[part.vdev], f"{part.vdev} at {name}"
        bench.check(view)

    def _tree_is_right(self, bench: Bench) -> None:
        listing = bench.engine.list(DOMAIN)
        assert listing.pending == ""
        assert not listing.contents.damaged
        assert listing.current == self.tree.current
        assert {name: known.parent for name, known in listing.contents.snapshots.items()} == self.tree.parents

    def _nothing_is_stuck_or_left(self, bench: Bench) -> None:
        view = bench.engine.view(DOMAIN)
        for name in self.saved:
            for request in (RevertRequest(name), DeleteRequest(name)):
                bench.engine.plan(DOMAIN, request)
        reached = {image.layer.path for image in view.images.values() if image}
        sidecars = {entry.path for entry in view.state.ours if entry.role == "sidecar"}
        assert bench.files() <= reached | sidecars | self._other_files(bench)
        assert {entry.path for entry in view.state.ours} <= bench.files()
        assert not self._forgotten(view), "images that nothing needs, and nobody will ever merge"

    def _forgotten(self, view: View) -> set[str]:
        """Images below those that disks work on: neither a snapshot names them, nor do they wait to be merged."""
        named = {part.image.path for snapshot in view.snapshots.values() for part in snapshot.disks}
        waiting = {base.path for base in view.state.hidden}
        below = {image.layer.path for disk in view.disks if disk.chain for image in disk.chain.images[1:]}
        return below - named - waiting

    def _other_files(self, bench: Bench) -> set[str]:
        return {path for path in bench.files() if path.endswith(".toml")}

    def teardown(self) -> None:
        for bench in self.benches:
            close = getattr(bench, "close", None)
            if close:
                with suppress(XensnapError):
                    close()
