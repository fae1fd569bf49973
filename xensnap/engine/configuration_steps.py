"""The step that gives a domain another configuration."""

import msgspec

from xensnap.engine import settings
from xensnap.engine.context import Context, unbelieved
from xensnap.engine.step import StepBase
from xensnap.errors import NotFound


class ConfigurationOf(msgspec.Struct, frozen=True):
    """A configuration as the toolstack writes it, and the operator's own file that says it, where there is one."""

    text: str
    file: str = ""


class Configure(StepBase, frozen=True):
    """Let a domain that is off have another configuration. Its disks stay those that it has."""

    before: ConfigurationOf
    after: ConfigurationOf

    def says(self) -> str:
        """See StepBase."""
        changes = settings.differing(self.before.text, self.after.text)
        return f"change the configuration: {', '.join(changes) or 'nothing but the file that it is read from'}"

    async def do(self, at: Context) -> None:
        """See StepBase."""
        if not await _is_set(at, self.after):
            await at.host.toolstack.set_configuration(at.domain_uuid, self.after.text, file=self.after.file)
            if not await _stands(at, self.after):
                raise unbelieved(f"the domain {at.domain_uuid} does not have the configuration that it was given")

    async def undo(self, at: Context) -> None:
        """See StepBase. A domain that is gone has nothing to be put back."""
        try:
            if not await _is_set(at, self.before):
                await at.host.toolstack.set_configuration(at.domain_uuid, self.before.text, file=self.before.file)
        except NotFound:
            return


async def _is_set(at: Context, wanted: ConfigurationOf) -> bool:
    domain = await at.host.toolstack.inspect(at.domain_uuid)
    return domain.described_in == wanted.file and await _stands(at, wanted)


async def _stands(at: Context, wanted: ConfigurationOf) -> bool:
    text = await at.host.toolstack.configuration(at.domain_uuid)
    return bool(settings.read(text)) and not settings.differing(wanted.text, text)
