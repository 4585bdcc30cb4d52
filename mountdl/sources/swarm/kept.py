"""Torrents that magnets led to, as files of the store: each is as old as its last use.

Law: what a mount used within a day stays, whatever else goes; what nobody used for long goes, and where there is much
of it what was used least lately. Only files of its own names are touched, and no symbolic link is followed. It does
not know what they say. Blocking, and short but for `collect`; that may run beside mounts, in a process of its own.
"""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LARGEST = 64 << 20
"""Bytes of one."""
DAY = 86400.0
LONGEST = 90 * DAY
"""Seconds without a use after which one goes: its magnet is gone, or peers can be asked once more."""
MOST = 256 << 20
"""Bytes of all together, but for those that were used within a day."""
LOOK = DAY / 2
"""Seconds between two looks of a mount: what it uses is never older."""
FIRST_LOOK = 600.0
"""Seconds until the first one: by then the magnets that are shown have found theirs."""

_SUFFIX = ".torrent"
_NAME = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\.(?:torrent|[0-9]{1,10}\.new)")


@dataclass(frozen=True, slots=True)
class _Found:
    used_at: float
    size: int
    path: str


class Kept:
    """Those below the store's *directory*, by info-hash."""

    def __init__(self, directory: Path) -> None:
        self.folder = folder_of(directory)
        self._used: set[Path] = set()

    def read(self, info_hash: bytes) -> bytes:
        """Return the one of *info_hash*, and take it for used as long as this process lives. Raises OSError."""
        path = self._path(info_hash)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            data = file.read(LARGEST + 1)
        self._use(path)
        return data

    def write(self, info_hash: bytes, data: bytes) -> None:
        """Keep *data* as the one of *info_hash*. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(info_hash)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        fresh.replace(path)
        self._used.add(path)

    def _use(self, path: Path) -> None:
        self._used.add(path)
        with suppress(OSError):
            os.utime(path, follow_symlinks=False)

    def tend(self) -> None:
        """Have what this process used count as used now, then remove what is too old or too much."""
        for path in tuple(self._used):
            self._use(path)
        now = time.time()
        collect(self.folder, now - LONGEST, MOST, now)

    def _path(self, info_hash: bytes) -> Path:
        return self.folder / f"{info_hash.hex()}{_SUFFIX}"


def folder_of(directory: Path) -> Path:
    """Return where the store in *directory* keeps them."""
    return directory / "torrents"


def collect(folder: Path, before: float, most: int | None, now: float) -> int:
    """Remove those last used before *before*, and the oldest beyond *most* bytes; return how many bytes that gave back.

    Times are in seconds since 1970. What was used in the day before *now* stays. Never fails: what can't go stays.
    """
    found = sorted(_found(folder), key=lambda each: each.used_at)
    over = sum(each.size for each in found) - most if most is not None else 0
    freed = 0
    for each in found:
        if each.used_at >= now - DAY or (each.used_at >= before and freed >= over):
            break
        with suppress(OSError):
            os.unlink(each.path)  # noqa: PTH108  # a path as text
            freed += each.size
    return freed


def _found(folder: Path) -> list[_Found]:
    found: list[_Found] = []
    with suppress(OSError):
        if folder.is_symlink():
            return found
        with os.scandir(folder) as entries:
            for each in entries:
                if _NAME.fullmatch(each.name) and each.is_file(follow_symlinks=False):
                    told = each.stat(follow_symlinks=False)
                    found.append(_Found(told.st_mtime, told.st_blocks * 512, each.path))
    return found
