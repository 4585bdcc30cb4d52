"""`mountdl mount`: check, go to the background, register, serve."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mountdl.control import checks, daemon, logs, mounttable
from mountdl.control.registry import Registry
from mountdl.control.text import shown
from mountdl.settings import Settings, is_remote

Serve = Callable[[Settings, Callable[[], None]], None]
"""Mounts and serves until unmounted; calls its second argument once reads work. Raises MountdlError."""


def run(settings: Settings, serve: Serve, registry: Registry) -> None:
    """Mount; return once reads work, or in the foreground once it is unmounted. Raises MountdlError."""
    mount = settings.mount
    for hint in checks.check(settings, registry):
        print(f"mountdl: {hint}", file=sys.stderr, flush=True)
    if mount.foreground:
        try:
            _serve(settings, serve, registry, lambda: daemon.notify("READY=1"))
        finally:
            daemon.notify("STOPPING=1")
        return
    try:
        daemon.in_background(
            lambda ready: _serve(settings, serve, registry, ready), _where_to_look(settings), _waited_for(mount.source)
        )
    except KeyboardInterrupt:
        _clear(mount.mountpoint)
        raise


def _serve(settings: Settings, serve: Serve, registry: Registry, ready: Callable[[], None]) -> None:
    mount = settings.mount
    logs.set_up(mount.log, mount.log_level, foreground=mount.foreground)
    with registry.entered(mount.mountpoint, mount.source) as entry:
        serve(replace(settings, mount=replace(mount, control_socket=Path(entry.socket))), ready)


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
