"""Programs of the operator that run before and after operations: the `Hooks` port of a real machine.

They get facts in their environment and nothing on their command line beside what the operator wrote. They do not
inherit our locks, so that one that stays behind keeps nobody from anything.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from xensnap.backends.local.runner import LocalRunner
from xensnap.errors import Effect, Failed, XensnapError
from xensnap.hypervisor import Runner


class Hook(msgspec.Struct, frozen=True):
    """One program. `when` are moments such as `pre-create`, or `pre` and `post` for all; `domains` are patterns."""

    when: tuple[str, ...]
    run: tuple[str, ...]
    deadline_s: float = 60.0
    on_failure: Literal["refuse", "warn"] = "refuse"
    domains: tuple[str, ...] = ("*",)

    def concerns(self, moment: str, domain: str) -> bool:
        """Whether it runs at this moment for this domain."""
        called = moment in self.when or moment.partition("-")[0] in self.when
        return called and any(fnmatchcase(domain, pattern) for pattern in self.domains)


class LocalHooks:
    """Runs the operator's programs, one after the other in the order of the configuration."""

    def __init__(self, hooks: Sequence[Hook], runner: Runner | None = None) -> None:
        self._hooks = tuple(hooks)
        self._runner = runner or LocalRunner()

    async def run(self, hook: str, facts: Mapping[str, str], *, timeout_s: float) -> tuple[str, ...]:
        """See `Hooks.run`."""
        told: list[str] = []
        for each in self._hooks:
            if each.concerns(hook, facts.get("XENSNAP_DOMAIN", "")):
                wrong = await self._wrong(each, hook, facts, min(timeout_s, each.deadline_s))
                if wrong and each.on_failure == "refuse":
                    remedy = 'Look at what the program says, or let its failure be told only: on-failure = "warn".'
                    raise Failed(wrong, id="hook-failed", remedy=remedy, effect=Effect.NONE)
                told += [wrong] if wrong else []
        return tuple(told)

    async def _wrong(self, hook: Hook, moment: str, facts: Mapping[str, str], timeout_s: float) -> str:
        """What went wrong with one program; empty if nothing did."""
        name = f"hook {moment}: {hook.run[0]}"
        settings = [f"{key}={value}" for key, value in {**facts, "XENSNAP_HOOK": moment}.items()]
        try:
            done = await self._runner.run(["env", "--", *settings, *hook.run], timeout_s=timeout_s)
        except XensnapError as error:
            return f"{name}: {error.cause.replace('env did', 'it did', 1)}"
        if not done.returncode:
            return ""
        words = done.stderr.decode(errors="replace").strip().splitlines()
        return f"{name} ended with {done.returncode}" + (f": {words[-1]}" if words else "")
