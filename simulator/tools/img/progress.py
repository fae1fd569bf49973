"""What `-p` prints: the first line and the last. How many come between follows QEMU's polling, so there are none."""

from simulator.tools.img.arguments import Call


def shown(call: Call, *, done: bool = True) -> str:
    """The lines of a program that has ended, or of one that failed while at work."""
    if not call.has("p") or call.has("q"):
        return ""
    return "    (0.00/100%)\r" + "    (100.00/100%)\r" * done + "\n"


def closed(call: Call) -> str:
    """What is printed where the program failed before its work began: the end of a line."""
    return "\n" if call.has("p") and not call.has("q") else ""
