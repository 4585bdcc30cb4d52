"""How many files and connections the process may have open, and how they are shared out. Knows nobody's."""

import resource

OWN = 32
"""That the process has open itself, and that one read needs: /dev/fuse, pipes, sockets, the log, a few connections."""
FEW = 256
"""With fewer it works, but little is kept open: each file that is read takes four, each connection one."""


def allowed() -> int:
    """Return how many may be open now; a million where there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def attainable() -> int:
    """Return how many may be open once the limit is raised as far as that can be done."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def share(part: int, most: int) -> int:
    """Return how many things may be kept, *most* at most and one at least, each of which takes a *part*-th of all."""
    return max(1, min(most, (allowed() - OWN) // part))
