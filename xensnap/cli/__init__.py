"""The command line: asks and shows, and decides nothing. One file for each command."""
