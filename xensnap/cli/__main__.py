"""`python -m xensnap.cli`, for where no script is installed."""

from xensnap.cli.main import main

main()
