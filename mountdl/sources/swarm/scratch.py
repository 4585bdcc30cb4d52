"""Folders that torrents are fetched into: of this process alone, and gone when it ends, however it ends.

A lock on a folder says that its process lives; what nobody holds is removed at the next start.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


class Scratch:
    """The folder of this process below *folder*, made at the first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: Path | None = None
        self._lock = -1
        self._stale = tuple(folder.glob("run-*")) if folder.is_dir() else ()

    def fresh(self) -> Path:
        """Return a new empty folder. Raises OSError."""
        while self._own is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            own = Path(tempfile.mkdtemp(prefix="run-", dir=self._folder))
            # Another process that starts now may take it for one that was left.
            with suppress(BlockingIOError, FileNotFoundError):
                self._lock = _locked(own)
                self._own = own
        return Path(tempfile.mkdtemp(dir=self._own))

    def sweep(self) -> None:
        """Remove what processes that ended badly left. For a worker thread."""
        for path in self._stale:
            with suppress(OSError):
                fd = _locked(path)
                shutil.rmtree(path, ignore_errors=True)
                os.close(fd)

    def close(self) -> None:
        """Remove the folder of this process."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._own = None


def discard(folder: Path) -> None:
    """Remove *folder* and all in it, as far as that can be done. For a worker thread."""
    shutil.rmtree(folder, ignore_errors=True)


def _locked(path: Path) -> int:
    """Open and lock the folder *path*. BlockingIOError where somebody else has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd
