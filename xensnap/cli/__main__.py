"""The way into the command line. What needs nothing is answered before anything is loaded."""

import sys

from xensnap import __version__

VERSION = f"xensnap, version {__version__}"


def main() -> None:
    """Run the command line of this process and end it."""
    if sys.argv[1:] == ["--version"]:
        print(VERSION)  # noqa: T201 -- click alone would take three times as long as all the rest
        return
    try:
        from xensnap.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("xensnap: interrupted; nothing was changed\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
