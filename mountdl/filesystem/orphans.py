"""Find out whether any process still has a file of the mount open or mapped.

A FUSE server is never told that a reader was killed. Where the reader waited for readahead, it dies and its
files are closed; where it waited for us directly (O_DIRECT, or a page whose readahead had failed), the kernel
keeps it until it is answered, SIGKILL pending. Reads /proc only, never the mount itself; runs in a thread.
"""

import os
import re
from contextlib import suppress

_DOOMED = re.compile(rb"^(?:SigPnd|ShdPnd):\s*[0-9a-f]*[13579bdf][0-9a-f]{2}$", re.MULTILINE)
"""SIGKILL is bit 8 (signal 9) of the pending signals, which proc_pid_status(5) shows in hexadecimal."""

Holder = frozenset[int]
"""The threads of one process."""


_GONE = " (deleted)"
"""What the kernel puts behind the path of an open file whose name is not there any more, proc_pid_fd(5)."""
_AWAY = (FileNotFoundError, ProcessLookupError)
"""What the kernel says of a process that is gone."""
_HIDDEN = (*_AWAY, PermissionError)
"""The same, and of one that is not for us to look at."""


def holders(name: str, openers: frozenset[int]) -> list[Holder] | None:
    """Return the processes that have a file called *name* open or mapped and are not being killed.

    A name only: a mount has other paths too, where it is bound or in a container. Of processes that are not for us to
    look at those count that have one of the threads *openers*, who opened it. None when that can't be told: nobody is
    to be seen in /proc, or there is no descriptor left to look with.
    """
    try:
        os.readlink("/proc/self")  # noqa: PTH115  # as below
        with os.scandir("/proc") as entries:
            processes = [entry.path for entry in entries if entry.name.isdecimal()]
        return [_threads(process) for process in processes if _uses(process, name, openers) and not _doomed(process)]
    except OSError:
        return None


def orphaned(opener: int, others: frozenset[int], found: list[Holder]) -> bool:
    """Say whether nobody can wait for a handle that thread *opener* opened.

    *found* are the processes that have its file open, *others* who opened it otherwise. Someone who neither
    opened this one nor another may have inherited it.
    """
    return all(opener not in threads and threads & others for threads in found)


def _uses(process: str, name: str, openers: frozenset[int]) -> bool:
    ends = (f"/{name}", f"/{name}{_GONE}")
    try:
        with suppress(*_AWAY), os.scandir(f"{process}/fd") as entries:
            for entry in entries:
                with suppress(*_HIDDEN):
                    if os.readlink(entry.path).endswith(ends):  # noqa: PTH115  # a Path each would triple the time
                        return True
        with suppress(*_AWAY), open(f"{process}/maps", "rb") as maps:  # noqa: PTH123  # as above
            lines = maps.read() + b"\n"
            return any(os.fsencode(end) + b"\n" in lines for end in ends)
    except PermissionError:
        return not openers.isdisjoint(_threads(process))
    return False


def _doomed(process: str) -> bool:
    with suppress(*_HIDDEN), open(f"{process}/status", "rb") as status:  # noqa: PTH123  # as above
        return _DOOMED.search(status.read()) is not None
    return True  # it is gone


def _threads(process: str) -> Holder:
    with suppress(*_HIDDEN):
        return frozenset(int(name) for name in os.listdir(f"{process}/task"))  # noqa: PTH208  # as above
    return frozenset()
