"""The loud answer to everything that the simulator does not model."""


class NotModelled(NotImplementedError):
    """The simulator does not model this, and a fake success would be a lie.

    Not one of xensnap's own errors on purpose: nothing that handles a host's failures may swallow it.
    """
