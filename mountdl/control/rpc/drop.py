"""The folder of descriptors, as clients may change it: what they add goes in, and only that may go again.

Law: a file is put there whole or not at all, and in nobody's place. What was put there has a mark beside it,
`.NAME.rpc`, with its gid and the SHA-256 of its bytes: a descriptor without one, or changed since, is not ours to
remove. Blocking, for worker threads; raises Fault and nothing else.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from mountdl.control.rpc.adding import Addition
from mountdl.control.rpc.faults import Fault
from mountdl.control.text import shown
from mountdl.descriptors.names import numbered

_GID = re.compile(r"[0-9a-f]{16}")
_LONGEST_MARK = 1 << 16
_MOST_NUMBERS = 1000
_LEFT = 3600.0
"""Seconds after which a mark without its descriptor is taken away: somebody removed that by hand."""
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES})


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a descriptor that a client added: the *gid* of its first file, the *digest* of its bytes.

    *added* is Unix time.
    """

    gid: str
    digest: str
    added: float


class Drop:
    """The folder *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def marks(self) -> dict[str, Mark]:
        """Return the marks of descriptors that are as they were put there, by name, oldest first."""
        found: dict[str, Mark] = {}
        with suppress(OSError):
            for name in os.listdir(self.folder):  # noqa: PTH208  # names suffice
                if name.startswith(".") and name.endswith(".rpc"):
                    own = name[1:-4]
                    mark, digest = self._mark(own), self._digest(own)
                    if mark is not None and digest == mark.digest:
                        found[own] = mark
                    elif mark is not None and digest is None and time.time() - mark.added > _LEFT:
                        self._beside(own).unlink(missing_ok=True)
        return dict(sorted(found.items(), key=lambda each: each[1].added))

    def put(self, made: Addition, gid: str, now: float) -> tuple[str, Mark]:
        """Write what was *made* under its name, or the next free one of its kind; return its name and mark."""
        name, data = made.name, made.data
        mark = Mark(gid, hashlib.sha256(data).hexdigest(), now)
        stem, dot, suffix = name.rpartition(".")
        for number in range(1, _MOST_NUMBERS):
            own = name if number == 1 else f"{numbered(stem, number)}{dot}{suffix}"
            if not os.path.lexists(self.folder / own) and not os.path.lexists(self._beside(own)):
                with suppress(FileExistsError):
                    self._write(own, data, mark)
                    return own, mark
        raise Fault(f"{shown(name)} is there too often already")

    def _write(self, name: str, data: bytes, mark: Mark) -> None:
        told = json.dumps({"gid": mark.gid, "sha256": mark.digest, "added": mark.added})
        beside = self._beside(name)
        try:
            self._place(beside, told.encode())
            try:
                self._place(self.folder / name, data)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
        except FileExistsError:
            raise
        except OSError as error:
            raise Fault(f"{shown(self.folder / name)} can't be written: {error.strerror}") from error

    def _place(self, path: Path, data: bytes) -> None:
        """Write *data* to *path* at once, where nothing is. Raises OSError."""
        temporary = self.folder / f".{secrets.token_hex(8)}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno not in _NO_LINKS or os.path.lexists(path):
                    raise
                temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove the descriptor *name*, which has a mark, unless it is gone already."""
        mark, path = self._mark(name), self.folder / name
        if os.path.lexists(path) and (mark is None or self._digest(name) != mark.digest):
            raise Fault(f"{shown(path)} was changed since it was added by RPC: remove it yourself")
        try:
            path.unlink(missing_ok=True)
            self._beside(name).unlink(missing_ok=True)
        except OSError as error:
            raise Fault(f"{shown(path)} can't be removed: {error.strerror}") from error

    def _beside(self, name: str) -> Path:
        return self.folder / f".{name}.rpc"

    def _mark(self, name: str) -> Mark | None:
        try:
            with _opened(self._beside(name)) as file:
                said = json.loads(file.read(_LONGEST_MARK))
            gid, digest, added = said["gid"], said["sha256"], float(said["added"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        sound = isinstance(gid, str) and isinstance(digest, str) and _GID.fullmatch(gid) is not None
        return Mark(gid, digest, added) if sound else None

    def _digest(self, name: str) -> str | None:
        """Return the digest of the bytes of descriptor *name*; None where there is none."""
        try:
            with _opened(self.folder / name) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None


def _opened(path: Path) -> BufferedReader:
    """Open the file at *path*. Raises OSError; a pipe, for whose other end a mount would wait at its start, is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no file", path)
    return open(descriptor, "rb")  # noqa: PTH123  # a descriptor
