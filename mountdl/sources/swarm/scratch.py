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

    def fresh(self) -> Path:
        """Return a new empty folder. Raises OSError."""
        if self._own is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._own = Path(tempfile.mkdtemp(prefix="run-", dir=self._folder))
            self._lock = os.open(self._own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Path(tempfile.mkdtemp(dir=self._own))

    def sweep(self) -> None:
        """Remove what processes that ended badly left. For a worker thread."""
        for path in self._folder.glob("run-*") if self._folder.is_dir() else ():
            with suppress(OSError):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(fd)

    def close(self) -> None:
        """Remove the folder of this process."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._own = None
