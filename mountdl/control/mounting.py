"""`mountdl mount`: check, go to the background, register, serve."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from mountdl.control import checks, daemon, logs, mounttable, systemd
from mountdl.control.registry import Registry
from mountdl.control.text import shown
from mountdl.settings import Settings, is_remote

Serve = Callable[[Settings, Callable[[], None], Callable[[], None]], None]
"""Mounts and serves until unmounted. Raises MountdlError.

Calls its second argument once reads work, and its third when it begins to end, perhaps more than once.
"""


def run(settings: Settings, serve: Serve, registry: Registry) -> None:
    """Mount; return once reads work, or in the foreground once it is unmounted. Raises MountdlError."""
    mount = settings.mount
    for hint in checks.check(settings, registry):
        print(systemd.line(f"mountdl: {hint}", systemd.WARNING), file=sys.stderr, flush=True)
    if mount.foreground:
        # Told before what takes time: to put on record what is stored, and to leave swarms.
        ending = cache(lambda: systemd.notify("STOPPING=1"))
        try:
            with _entered(settings, registry) as entered:
                serve(entered, lambda: systemd.notify("READY=1"), ending)
        finally:
            ending()
        return

    def served(ready: Callable[[], None]) -> None:
        with _entered(settings, registry) as entered:
            serve(entered, ready, lambda: None)

    try:
        # An automount lets nobody look at the place, for which it waits, but who belongs to its group.
        group = mounttable.awaited(mount.mountpoint)
        daemon.in_background(served, _where_to_look(settings), _waited_for(mount.source), in_group=group)
    except KeyboardInterrupt:
        _clear(mount.mountpoint)
        raise


@contextmanager
def _entered(settings: Settings, registry: Registry) -> Iterator[Settings]:
    """Have the mount be known to commands; return its settings with where they reach it."""
    mount = settings.mount
    logs.set_up(mount.log, mount.log_level, foreground=mount.foreground)
    with registry.entered(mount.mountpoint, mount.source) as entry:
        yield replace(settings, mount=replace(mount, control_socket=Path(entry.socket)))


def _waited_for(source: str) -> str:
    if is_remote(source):
        # Not what it is: it may have a password in it.
        return "still waiting for the server that SOURCE names"
    return f"still looking for descriptors in {shown(source)}"


def _where_to_look(settings: Settings) -> str:
    if settings.mount.log is not None:
        return f"its log is {shown(settings.mount.log)}"
    return "its log is the system's; give --log FILE or --foreground to see more"


def _clear(mountpoint: Path) -> None:
    mounted = mounttable.on(mountpoint)
    if mounted is not None and mounted.ours:
        mounttable.unmount(mountpoint, lazy=True)
