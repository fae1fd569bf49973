"""`config`: what the configuration files say."""

from xensnap.cli import configuration
from xensnap.cli.command import command_with
from xensnap.cli.documents.examined import ConfigurationDocument
from xensnap.cli.session import Session, told


@command_with("config", "Show the configuration that is in force.", ("xensnap config", ""))
@told
def command(session: Session) -> None:
    """Show which configuration files are read, and what they say together."""
    found = configuration.load()
    files = tuple(str(path) for path in configuration.paths() if path.is_file())
    document = ConfigurationDocument("", files, configuration.as_toml(found))
    session.show(document, lambda: _text(document))


def _text(document: ConfigurationDocument) -> str:
    import tomlkit

    files = "".join(f"# {path}\n" for path in document.files) or "# no file is read\n"
    said = {key: value for key, value in document.settings.items() if value}
    return (files + tomlkit.dumps(said)).rstrip("\n")
