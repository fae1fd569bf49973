"""`python -m xensnap` is the command `xensnap`."""

from xensnap.cli.__main__ import main

if __name__ == "__main__":
    main()
