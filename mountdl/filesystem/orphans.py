"""Find out whether any process still has a file of the mount open or mapped.

A FUSE server is never told that a reader was killed: SIGKILL closes its files, but its reads stay
with us until they are answered. Reads /proc only, never the mount itself; runs in a thread.
"""

import contextlib
import os


def in_use(path: str) -> bool:
    """Say whether a process that we may look at has *path* (as the kernel spells it) open or mapped."""
    return any(_uses(entry.path, path) for entry in os.scandir("/proc") if entry.name.isdecimal())


def _uses(process: str, path: str) -> bool:
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"{process}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(entry.path) == path:  # noqa: PTH115  # a Path each would triple the time
                    return True
    with contextlib.suppress(OSError), open(f"{process}/maps", "rb") as maps:  # noqa: PTH123  # as above
        return os.fsencode(path) in maps.read()
    return False
