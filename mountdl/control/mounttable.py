"""What the kernel says is mounted, and unmounting by its tools.

Law: no mount is asked anything, so that a dead one can't block us.
"""

import contextlib
import errno
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

FILESYSTEM = "fuse.mountdl"
"""The type that our mounts have in the kernel's table."""
AUTOMOUNT = "autofs"
"""That of a place which somebody waits at to mount what belongs there."""
_TABLE = Path("/proc/self/mountinfo")
_PATIENCE = 20.0
_MOST_LINKS = 40
"""As many as Linux follows, path_resolution(7)."""


class Mounted(NamedTuple):
    """A line of the table: what is mounted on *mountpoint*, of which type, called what, with which options.

    *shares* are the marks of who else hears of what is mounted below it, mount_namespaces(7).
    """

    mountpoint: Path
    filesystem: str
    source: str
    options: str = ""
    shares: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Say whether it is a mount of mountdl."""
        return self.filesystem == FILESYSTEM

    @property
    def user(self) -> int:
        """Return the number of the user who mounted it, our own where that is not said."""
        found = re.search(r"(?:^|,| )user_id=(\d+)", self.options)
        return os.geteuid() if found is None else int(found[1])

    @property
    def stranger(self) -> str | None:
        """Return the name of the user who mounted it, if that is somebody else."""
        if self.user == os.geteuid():
            return None
        import pwd

        with contextlib.suppress(KeyError, OverflowError):
            return pwd.getpwuid(self.user).pw_name
        return f"user {self.user}"


def read(table: Path = _TABLE) -> list[Mounted]:
    """Return all mounts, the later over the earlier."""
    return [found for line in table.read_bytes().splitlines() if (found := _parsed(line)) is not None]


def _parsed(line: bytes) -> Mounted | None:
    # proc_pid_mountinfo(5): ... (5) mount point ... (7) optional fields, ended by " - ", type, source, options.
    head, dash, tail = line.partition(b" - ")
    before, after = head.split(b" "), tail.split(b" ")
    if not dash or len(before) < 6 or len(after) < 2:
        return None
    options, shares = os.fsdecode(b" ".join(after[2:])), tuple(each.decode(errors="replace") for each in before[6:])
    return Mounted(Path(_plain(before[4])), os.fsdecode(after[0]), _plain(after[1]), options, shares)


def _plain(field: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 255]), field))


def on(mountpoint: Path) -> Mounted | None:
    """Return what is mounted on exactly *mountpoint*, the topmost if several are; no automount, which waits there."""
    found = (each for each in reversed(read()) if each.mountpoint == mountpoint)
    return next((each for each in found if each.filesystem != AUTOMOUNT), None)


def awaited(mountpoint: Path) -> bool:
    """Say whether *mountpoint* is an automount (x-systemd.automount of fstab) or in one (autofs(5)), and not mounted.

    Until its mount is there, only processes in the group of who mounts for it can look there; others wait, in the
    kernel, for the end of mount(8).
    """
    below = around(mountpoint)
    return below is not None and below.filesystem == AUTOMOUNT


def around(path: Path) -> Mounted | None:
    """Return the mount that *path* is on or in, the innermost; asks no mount."""
    found = [each for each in read() if path.is_relative_to(each.mountpoint)]
    return max(reversed(found), key=lambda each: len(each.mountpoint.parts), default=None)


def hidden(mountpoint: Path, processes: Path = Path("/proc"), container: Path = Path("/run/systemd/container")) -> bool:
    """Say whether nobody else hears of a mount on *mountpoint*: in a mount table of our own, as services have."""
    try:
        own = os.readlink(processes / "self/ns/mnt") != os.readlink(processes / "1/ns/mnt")  # noqa: PTH115  # a name
    except OSError:
        own = not container.exists()  # not for us to know; all mounts of a container are copies
    below = around(mountpoint)
    # systemd has a service's own table hear of mounts, and tell of none: each has a "master", mount_namespaces(7).
    return own and below is not None and any(mark.startswith("master:") for mark in below.shares)


def resolved(path: Path) -> Path:
    """Return *path* without symbolic links. Asks no mount of mountdl, which has none: it may be dead, or stopped."""
    path = path.absolute()
    mounts = {each.mountpoint: each.ours for each in read()}
    found, left, links = Path(path.anchor), list(reversed(path.parts[1:])), 0
    while left:
        part = left.pop()
        found = found.parent if part == ".." else found / part
        if part == ".." or found in mounts or any(mounts.get(each, False) for each in found.parents):
            continue
        target = _link(found)
        if target is not None and links < _MOST_LINKS:
            links += 1
            found = Path("/") if target.is_absolute() else found.parent
            left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return found


def _link(path: Path) -> Path | None:
    try:
        return Path(os.readlink(path))  # noqa: PTH115  # Path.readlink raises for more than this
    except OSError:
        return None


def dead(mountpoint: Path) -> bool:
    """Say whether the daemon of the mount on *mountpoint* is gone."""
    try:
        # Not stat: its answer may come from the kernel's cache.
        os.statvfs(mountpoint)
    except OSError as error:
        # The latter where it ends while it is asked: threads of one that was killed may still be in the disk's hands.
        return error.errno in {errno.ENOTCONN, errno.ECONNABORTED}
    return False


def orphans(served: Collection[str]) -> list[Path]:
    """Return where this user has mounts whose daemons are gone; those in *served* have theirs."""
    own = f"user_id={os.geteuid()}"
    mine = {each.mountpoint for each in read() if each.ours and own in each.options.split(",")}
    return sorted(each for each in mine if str(each) not in served and dead(each))


def unmount(mountpoint: Path, *, lazy: bool = False) -> str | None:
    """Unmount; return None, or what the tool said when it could not."""
    import subprocess

    options = ["-z"] if lazy else []
    tried = [["fusermount3", "-u", *options, "--", str(mountpoint)]]
    if os.geteuid() == 0:
        # "-i": without umount.fuse.mountdl, which is us.
        tried.insert(0, ["umount", "-i", *(["-l"] if lazy else []), "--", str(mountpoint)])
    said = "there is no tool for it"
    for command in tried:
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL, check=False
            )
        except FileNotFoundError:
            continue
        except subprocess.TimeoutExpired:
            return f"{command[0]} did not return within {_PATIENCE:g} s"
        if done.returncode == 0:
            return None
        return done.stderr.decode(errors="replace").strip() or f"{command[0]} failed with status {done.returncode}"
    return said
