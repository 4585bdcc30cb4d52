"""`mountdl unmount`: take a mount out of the tree and wait until its daemon has put everything away."""

import os
import time
from contextlib import suppress
from pathlib import Path

from mountdl.control import mounttable
from mountdl.control.client import ask, stopped
from mountdl.control.mounttable import Mounted
from mountdl.control.registry import Entry, Registry, unlisted
from mountdl.control.text import shown
from mountdl.errors import ExitStatus, UsageError

PATIENCE = 60.0
"""Seconds that a daemon gets to flush its store."""
_ENDING = 3.0
"""Seconds that a daemon gets to notice that it is unmounted; from then on it answers nobody."""
_NAMED = 5
_LOOK = 0.02


def run(path: Path, registry: Registry, patience: float = PATIENCE) -> None:
    """Unmount what mountdl has on *path*. Raises UsageError when it has nothing there, or when it is in use."""
    mountpoint, until = mounttable.resolved(path), time.monotonic() + patience
    mounted = mounttable.on(mountpoint)
    entry = next((each for each in registry.alive() if each.mountpoint == str(mountpoint)), None)
    if mounted is None and entry is None:
        raise UsageError(f"{shown(mountpoint)} is not a mount", ExitStatus.NOT_FOUND)
    if mounted is None and entry is not None:
        mounted = _appeared(mountpoint, entry, registry, until)
    if mounted is not None and not mounted.ours:
        raise UsageError(f"{shown(mountpoint)} is not a mount of mountdl but of {shown(mounted.filesystem)}")
    if mounted is not None and os.geteuid() != 0 and (stranger := mounted.stranger):
        who = f"that {stranger} made, who alone can unmount it, and root"
        raise UsageError(f"{shown(mountpoint)} is a mount {who}", ExitStatus.UNKNOWN)
    if mounted is not None and entry is None:
        entry = unlisted(mountpoint, mounted.user)
    if entry is not None and (halted := stopped(entry)):
        raise UsageError(f"{halted}; then unmount it", ExitStatus.TIMEOUT)
    if mounted is not None:
        # A mount whose daemon is dead has readers that only wait for its end.
        refused = mounttable.unmount(mountpoint, lazy=entry is None and mounttable.dead(mountpoint))
        if refused is not None:
            raise UsageError(_explained(mountpoint, refused), ExitStatus.UNKNOWN)
    if entry is not None and not registry.gone(entry, min(_ENDING, patience)) and _serves(entry):
        raise UsageError(
            f"{shown(mountpoint)} is unmounted, but files in it are open still, or it is shown elsewhere still (a"
            f" container, another mount namespace, an overlay on it); its daemon (process {entry.pid}) ends with that",
            ExitStatus.TIMEOUT,
        )
    if entry is not None and not registry.gone(entry, until - time.monotonic()):
        held = "" if entry.socket else ", or files in it are open still"
        raise UsageError(
            f"{shown(mountpoint)} is unmounted, but its daemon (process {entry.pid}) has not ended within"
            f" {patience:g} s; it may still be writing to the store{held}",
            ExitStatus.TIMEOUT,
        )


def _serves(entry: Entry) -> bool:
    if not entry.socket:
        return False
    try:
        ask(entry, {"verb": "status", "path": None, "brief": True}, timeout=_ENDING)
    except UsageError:
        return False
    return True


def _appeared(mountpoint: Path, entry: Entry, registry: Registry, until: float) -> Mounted | None:
    """Wait for the mount of a daemon that is only starting, or for the end of one that is ending; return the mount.

    One that answers has mounted: what is not there then was taken away, by umount -l, and stays for open files.
    """
    serves = False
    while time.monotonic() < until and not registry.gone(entry, 0.0):
        mounted = mounttable.on(mountpoint)
        if mounted is not None or serves:
            return mounted
        serves = _serves(entry)
        if not serves:
            time.sleep(_LOOK)
    return None


def _explained(mountpoint: Path, refused: str) -> str:
    if "busy" not in refused.lower():
        return f"{shown(mountpoint)} can't be unmounted: {shown(refused)}"
    who = [*users(mountpoint), *loops(mountpoint)]
    if not who:
        return f"{shown(mountpoint)} is busy: a process that can't be seen from here uses it; end it and try again"
    more = f" and {len(who) - _NAMED} more" if len(who) > _NAMED else ""
    return f"{shown(mountpoint)} is busy: used by {', '.join(who[:_NAMED])}{more}; end or leave that and try again"


def users(mountpoint: Path) -> list[str]:
    """Return who has something in *mountpoint* open or stands in it, as "name (process 123, file)"."""
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda each: int(each.name)):
        used = _used(process, mountpoint)
        if used is not None and process.name != str(os.getpid()):
            found.append(f"{_name(process)} (process {process.name}, {shown(used)})")
    return found


def loops(mountpoint: Path, devices: Path = Path("/sys/block")) -> list[str]:
    """Return which loop devices are of a file in *mountpoint*: their users are no processes."""
    found = []
    for told in sorted(devices.glob("loop*/loop/backing_file")):
        with suppress(OSError):
            file = Path(told.read_text(errors="replace").removesuffix("\n"))
            if file.is_relative_to(mountpoint):
                found.append(f"the loop device /dev/{told.parts[-3]} ({shown(str(file.relative_to(mountpoint)))})")
    return found


def _used(process: Path, mountpoint: Path) -> str | None:
    """Return a path inside *mountpoint* that *process* uses. Reads links only, so that no mount is asked."""
    try:
        links = [process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()]
    except OSError:
        return None
    for link in links:
        try:
            target = Path(os.readlink(link))  # noqa: PTH115  # as text; a target may be "pipe:[1]"
        except OSError:
            continue
        if target.is_relative_to(mountpoint):
            return "its working directory" if link.name == "cwd" else str(target.relative_to(mountpoint))
    return None


def _name(process: Path) -> str:
    try:
        return shown((process / "comm").read_text(errors="replace").strip())
    except OSError:
        return "?"
