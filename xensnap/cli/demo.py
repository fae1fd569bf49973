"""`demo`: the main job told in a terminal, on a simulated host that is gone when it ends.

Every line shown is the answer of the engine or of a comparison just made. Nothing is scripted but the order.
"""

import re
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xensnap.cli.command import command_with
from xensnap.cli.demo_world import DISKS, DOMAIN, Compared, DemoWorld
from xensnap.cli.documents.simulated import DemoDocument, Proof
from xensnap.cli.list import table_text
from xensnap.cli.output import size
from xensnap.cli.plans import plan_text
from xensnap.cli.records import recovered_document, recovered_text, snapshot_document
from xensnap.cli.session import Session, told
from xensnap.cli.tree import tree_text
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import ExitCode
from xensnap.hypervisor import Then

if TYPE_CHECKING:
    from rich.console import Console


@command_with("demo", "Show disks and memory come back from a snapshot.", ("xensnap demo", ""))
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Keep a picture of it.")
@click.option("--plain", is_flag=True, help="No colours.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Repeat the run of this number. [default: another one]")
@told
def command(session: Session, svg: Path | None, plain: bool, seed: int | None) -> int:
    """Take snapshots of a simulated domain, damage it, bring disks and memory back, and prove it block by block.

    Needs neither Xen nor QEMU, changes nothing on this machine, and ends with an error if any proof fails.
    """
    # Colours are forced for the picture, and have no place in a file or a pipe.
    aside = session.json or (svg is not None and not sys.stdout.isatty())
    console = _console(plain=plain, record=svg is not None, aside=aside)
    story = Story(console, secrets.randbelow(2**31) if seed is None else seed)
    story.tell()
    if aside and not session.json:
        click.echo(console.export_text(clear=False), nl=False)
    if svg is not None:
        svg.write_text(_picture(console), encoding="utf-8")
    passed = all(proof.holds for proof in story.proofs)
    document = DemoDocument(f"sim, seed {story.world.seed}", tuple(story.proofs), passed)
    session.show(document, lambda: "")
    return ExitCode.DONE if passed else ExitCode.NOTHING_CHANGED


def _console(*, plain: bool, record: bool, aside: bool) -> "Console":
    import io

    from rich.console import Console

    return Console(
        record=record,
        width=100,
        highlight=False,
        no_color=plain or None,
        color_system=None if plain else "truecolor" if record else "auto",
        # A picture has colours even where the terminal shows none.
        force_terminal=True if record and not plain else None,
        file=io.StringIO() if aside else None,
    )


def _picture(console: "Console") -> str:
    """The recording as SVG, without the fonts that it would fetch from elsewhere."""
    return re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="xensnap demo"), flags=re.DOTALL)


@dataclass
class Story:
    """What is shown, in order, and what was proved on the way."""

    console: "Console"
    seed: int
    proofs: list[Proof] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = DemoWorld(self.seed)

    def tell(self) -> None:
        """The whole story."""
        self._beginning()
        self._damage_and_revert()
        self._branch_and_delete()
        self._crash_and_recover()
        self._memory()
        self._end()

    # Chapters --------------------------------------------------------------------------------------------------------

    def _beginning(self) -> None:
        disks = ", ".join(f"{vdev} ({layout}, {size(size_bytes)})" for vdev, layout, size_bytes in DISKS)
        self._title(f"A simulated host with one domain, {DOMAIN}, which is off: {disks}")
        self.world.write(60)
        self._says(f"the guest has made {self.world.host.world.writes} writes")
        self._command(f"create {DOMAIN} -n before --dry-run")
        self._shows(plan_text(self.world.engine.plan(DOMAIN, CreateRequest("before"))))
        self._create("before")

    def _damage_and_revert(self) -> None:
        before = self.world.taken["before"]
        self._title("Damage, and the way back")
        self.world.write(40)
        hurt = self.world.compared(before)
        self._says(f"40 more writes: {hurt.total - hurt.equal} of {hurt.total} blocks are not what they were")
        self._command(f"list {DOMAIN}")
        listing = self.world.engine.list(DOMAIN)
        records = listing.contents.snapshots.values()
        self._shows(table_text(tuple(snapshot_document(each, current=listing.current) for each in records)))
        self._revert("before")
        self._prove("after the revert, every block is what it was", self.world.compared(before))

    def _branch_and_delete(self) -> None:
        self._title("Branches, and deleting where they part")
        for name in ("update", "other"):
            self.world.write(20)
            self._create(name)
            if name == "update":
                self._revert("before")
        self._tree()
        now = self.world.content()
        self._command(f"delete {DOMAIN} before")
        self._shows(f"done: {self.world.engine.delete(DOMAIN, DeleteRequest('before')).plan.summary}")
        self._tree()
        self._prove("the delete changed nothing that the guest sees", self.world.compared(now))
        self._prove_snapshots()

    def _crash_and_recover(self) -> None:
        self._title("Death in the middle")
        now = self.world.content()
        self._command(f"create {DOMAIN} -n fatal")
        self.world.taken["fatal"] = now
        point, effects, deaths = self.world.crash_in_create("fatal")
        self._says(f"killed at effect {point.number} of {effects}, {point.cut} {point.effect}: one of {deaths} deaths")
        self._command(f"recover {DOMAIN}")
        recovered = recovered_document(self.world.recover())
        self._shows(recovered_text(recovered) if recovered else "nothing to recover")
        self._prove("after the recovery, every block is what it was", self.world.compared(now))
        self._prove_snapshots()
        findings = self.world.findings()
        for finding in findings:
            self._says(finding)
        self._hold("no image is damaged, and none has leaked a cluster", holds=not findings)

    def _memory(self) -> None:
        self._title("A guest that runs: memory and disks of one moment")
        self._command(f"domain start {DOMAIN}")
        self.world.engine.start(DOMAIN)
        self.world.guest_works(30)
        self._says(f"of what it has written, {size(self.world.unflushed_bytes)} are in its memory and on no disk")
        self._command(f"create {DOMAIN} -n moment --then paused")
        request = CreateRequest("moment", then=Then.PAUSED)
        self._shows(f"done: {self.world.engine.create(DOMAIN, request).plan.summary}")
        remembered, read = self.world.memory, self.world.guest_reads()
        self._says(f"the guest has counted to {remembered.counter}")
        self._command(f"domain unpause {DOMAIN}")
        self.world.engine.unpause(DOMAIN)
        self.world.guest_works(30)
        hurt = self.world.compared(read, self.world.guest_reads())
        self._says(f"now to {self.world.memory.counter}, and reads {hurt.total - hurt.equal} other blocks")
        self._command(f"revert {DOMAIN} moment --then paused")
        self._shows(f"done: {self.world.engine.revert(DOMAIN, RevertRequest('moment', Then.PAUSED)).plan.summary}")
        counter = self.world.memory.counter
        self._hold(f"its memory is that of the moment, counter {counter}", holds=self.world.memory == remembered)
        self._prove("the guest reads what it read at the moment", self.world.compared(read, self.world.guest_reads()))

    def _end(self) -> None:
        failed = [proof.claim for proof in self.proofs if not proof.holds]
        blocks = sum(proof.blocks for proof in self.proofs)
        self.console.print()
        if failed:
            self.console.print(f"NOT PROVED (--seed {self.seed}): {'; '.join(failed)}", style="bold red", markup=False)
        else:
            text = f"Proved: disks and memory came back, {blocks} of {blocks} blocks, also after a delete and a crash."
            self.console.print(text, style="bold green", markup=False)

    # Proofs ----------------------------------------------------------------------------------------------------------

    def _prove(self, claim: str, compared: Compared) -> None:
        self._hold(claim, holds=compared.all_equal, counted=f"{compared.equal} of {compared.total}", n=compared.total)

    def _prove_snapshots(self) -> None:
        for name in self.world.engine.list(DOMAIN).contents.snapshots:
            self._prove(f"the snapshot {name!r} still gives back what it holds", self.world.gives_back(name))

    def _hold(self, claim: str, *, holds: bool, counted: str = "", n: int = 0) -> None:
        self.proofs.append(Proof(claim, holds, n))
        mark, style = ("✓", "green") if holds else ("✗", "bold red")
        self.console.print(f"  {mark} {claim}{f': {counted} blocks' if counted else ''}", style=style, markup=False)

    # Showing ---------------------------------------------------------------------------------------------------------

    def _title(self, text: str) -> None:
        self.console.print()
        self.console.print(text, style="bold", markup=False)

    def _command(self, text: str) -> None:
        self.console.print(f"$ xensnap {text}", style="cyan", markup=False)

    def _shows(self, text: str) -> None:
        for line in text.splitlines():
            self.console.print(f"  {line}", markup=False, soft_wrap=True)

    def _says(self, text: str) -> None:
        self.console.print(f"  {text}", style="yellow", markup=False)

    def _create(self, name: str) -> None:
        self._command(f"create {DOMAIN} -n {name}")
        result = self.world.engine.create(DOMAIN, CreateRequest(name))
        self.world.taken[name] = self.world.content()
        self._shows(f"done: {result.plan.summary}")

    def _revert(self, name: str) -> None:
        self._command(f"revert {DOMAIN} {name}")
        self._shows(f"done: {self.world.engine.revert(DOMAIN, RevertRequest(name)).plan.summary}")

    def _tree(self) -> None:
        self._command(f"tree {DOMAIN}")
        listing = self.world.engine.list(DOMAIN)
        self._shows(tree_text(DOMAIN, listing.contents.snapshots, listing.current))
