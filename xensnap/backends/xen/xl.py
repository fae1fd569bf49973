"""xl, asked and told. Its exit codes are kept for the errors and believed nowhere: callers read the state back.

Domains are always named by their domid: xl takes a name of digits for a domid in most commands (Xen 4.17.7).
"""

from collections.abc import Callable

from xensnap.backends.xen import listing
from xensnap.backends.xen.listing import Block, Line
from xensnap.errors import Failed
from xensnap.formats import libxl_json
from xensnap.formats.libxl_json import Config
from xensnap.hypervisor import Completed, Runner
from xensnap.model import DomId

ASK_S_MAX = 60.0
"""A question is answered in milliseconds, and in seconds on a host that is starved."""
TELL_S_MAX = 300.0
"""libxl itself waits up to a minute for a guest or a QEMU that does not answer."""

_NOISE = ("xc: progress:", "xc: info:", "Parsing config from", "Loading new save file", " Savefile contains")


class Xl:
    """xl on one host.

    Args:
        runner: starts it.
        program: its name or path.
    """

    def __init__(self, runner: Runner, program: str = "xl") -> None:
        self._runner = runner
        self.program = program

    async def tell(
        self, *words: str, timeout_s: float | None = TELL_S_MAX, heard: Callable[[bytes], None] | None = None
    ) -> Completed:
        """Let xl do something. Whether it did is for the caller to see."""
        return await self._runner.run([self.program, *words], timeout_s=timeout_s, heard=heard)

    async def lines(self) -> tuple[Line, ...]:
        """All domains but dom0, with their states."""
        done = await self._ask("list", "-v")
        return listing.domains(done.stdout.decode("utf-8", "surrogateescape"))

    async def configurations(self, domid: DomId | None = None) -> dict[int, Config]:
        """The configurations of all domains or of one. One that is just being made or unmade has none."""
        words = ["list", "-l", *([str(domid)] if domid is not None else [])]
        done = await self._runner.run([self.program, *words], timeout_s=ASK_S_MAX)
        return libxl_json.parse_list(done.stdout, source="xl list -l")

    async def blocks(self, domid: DomId) -> dict[int, Block]:
        """What serves the disks of a domain, by their number. It exits 0 whatever happens; nothing is told then."""
        done = await self._ask("block-list", str(domid))
        return listing.blocks(done.stdout.decode("utf-8", "replace"))

    async def capabilities(self) -> frozenset[str]:
        """What Xen can do with guests here: `hap`, `shadow` and so on."""
        return listing.capabilities((await self._ask("info")).stdout.decode("utf-8", "replace"))

    async def read_file(self, path: str) -> Config:
        """The configuration that a file of the operator's describes, as xl itself reads it. `Failed` with its words."""
        done = await self._runner.run([self.program, "-N", "create", path], timeout_s=ASK_S_MAX)
        if done.returncode:
            raise Failed(f"xl cannot read {path}: {words(done)}", id="bad-domain-config", remedy="Correct the file.")
        return libxl_json.parse(done.stdout, source=path)

    async def _ask(self, *words_: str) -> Completed:
        done = await self._runner.run([self.program, *words_], timeout_s=ASK_S_MAX)
        if done.returncode:
            remedy = "Look whether Xen runs on this machine and whether you are root."
            raise Failed(f"xl {' '.join(words_)}: {words(done)}", id="xl-failed", remedy=remedy)
        return done


def words(done: Completed) -> str:
    """What xl complained of, in one line: its greetings and its progress left out."""
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    told = [line.strip() for line in lines if line.strip() and not line.startswith(_NOISE)]
    return "; ".join(told) or f"it ended with {done.returncode}, without a word"
