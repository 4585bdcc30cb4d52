"""Where the files of one content lie, and how they are opened, replaced and removed there.

Law: nothing here follows a symbolic link below the store's directory or opens anything but a regular
file, and a file that is replaced is either the old one or the new one, whole. It does not know what
the files say.
"""

import errno
import fcntl
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mountdl.content import ContentKey
from mountdl.errors import StoreBusy, StoreDamaged, StoreError, StoreFrozen, StoreFull

DATA = ".data"
MANIFEST = ".manifest"
JOURNAL = ".journal"
PIN = ".pin"
SUMS = ".sums"
FILES = (MANIFEST, JOURNAL, SUMS, DATA)
"""All that a content has, but for its pin, in the order in which they go: what says something of bytes before them."""

_NEW = ".new"
SLICE = 32 * 1024
"""Bytes written at once. A longer write makes longer folios, whose memory many virtual machines have given back to
their host: 512 MiB of fresh cache took 0.5 s of system time in slices of 32 KiB, 1.1 s in one piece of a MiB."""
# A key is at most 170 characters (sha-512, a size of 16 digits, the suffix of a distinct chunk map);
# with ".manifest.new" that stays below NAME_MAX, 255.
_KEY = re.compile(r"[0-9a-z][0-9a-z-]{0,199}")
# EFBIG: RLIMIT_FSIZE, or a file system whose files can't be that long. EAGAIN: btrfs where room is short.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN})
# What a file system says once it became read-only, was shut down, or finds its own books damaged (the last two).
_READ_ONLY = {errno.EROFS, errno.ESHUTDOWN, errno.EUCLEAN, errno.EBADMSG}
# What a disk says that fails or was pulled out; all but the first three come of writes past the page cache.
_FAILED = {
    errno.EIO,
    errno.ENXIO,
    errno.ENODEV,
    errno.EREMOTEIO,
    errno.ENODATA,
    errno.ENOLINK,
    errno.EBADE,
    errno.EILSEQ,
}
# What is said of a server that forgot us or is gone.
_GONE = {errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT}
_FROZEN = frozenset(_READ_ONLY | _FAILED | _GONE)


@contextmanager
def store_errors(doing: str) -> Iterator[None]:
    """Turn an OSError into StoreFull, StoreFrozen or StoreError; *doing* says what failed ("can't write X")."""
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno in _FULL else StoreFrozen if error.errno in _FROZEN else StoreError
        raise kind(f"{doing}: {os.strerror(error.errno or errno.EIO)}") from error


def is_key(name: str) -> bool:
    """Say whether *name* can be a ContentKey, and so part of a file name."""
    return _KEY.fullmatch(name) is not None


def write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Put all of *data* at *offset*. OSError when the disk takes less."""
    written = os.pwrite(fd, data, offset)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(data):
        written += os.pwrite(fd, view[written:], offset + written)


def write_sliced(fd: int, data: memoryview, offset: int) -> None:
    """Like `write_all`, for bulk that the page cache is to keep."""
    for start in range(0, len(data), SLICE):
        write_all(fd, data[start : start + SLICE], offset + start)


def open_folder(path: Path | str, *, dir_fd: int | None = None) -> int:
    """Open the directory *path*; OSError if it is a symbolic link or no directory."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def nameless(folder: Path) -> int:
    """Return a new file below *folder* that has no name and goes when it is closed. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        # Not every file system makes files without a name: one that loses it at once does as well.
        fd, path = tempfile.mkstemp(dir=folder)
        os.unlink(path)  # noqa: PTH108
        return fd


def prefix_of(key: ContentKey) -> str:
    """Return the name of the folder that holds *key*'s files: spreads them evenly over 256."""
    return hashlib.sha256(key.encode()).hexdigest()[:2]


@dataclass(frozen=True, slots=True)
class Place:
    """The files of *key* below the directory *contents*; each is named by its suffix."""

    contents: Path
    key: ContentKey

    def __post_init__(self) -> None:
        if not is_key(self.key):
            raise StoreError(f"not a content key: {self.key[:80]!r}")

    def path(self, suffix: str) -> Path:
        """Return the full name of a file, for messages and for looks that follow no link."""
        return self.contents / prefix_of(self.key) / (self.key + suffix)

    @contextmanager
    def folder(self) -> Iterator[int]:
        """Open the folder for a moment. Held no longer: descriptors are few, contents are many."""
        top = open_folder(self.contents)
        try:
            fd = open_folder(prefix_of(self.key), dir_fd=top)
        finally:
            os.close(top)
        try:
            yield fd
        finally:
            os.close(fd)

    def make_folder(self) -> None:
        """Create the folder, for its owner only, if it is not there."""
        with suppress(FileExistsError):
            (self.contents / prefix_of(self.key)).mkdir(mode=0o700)

    def open(self, suffix: str, flags: int) -> int:
        """Open a file. FileNotFoundError if there is none and *flags* has no O_CREAT.

        StoreDamaged when what has its name is a link, a pipe or anything but a regular file.
        """
        # O_NONBLOCK: opening a planted pipe must not wait for its other end.
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            with self.folder() as folder:
                fd = os.open(self.key + suffix, flags, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}:
                raise StoreDamaged(f"{self.path(suffix)} is not a regular file: remove it") from error
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StoreDamaged(f"{self.path(suffix)} is not a regular file: remove it")
        return fd

    def read(self, suffix: str, limit: int) -> bytes | None:
        """Return a file's bytes, *limit* at most, or None when there is no such file."""
        try:
            fd = self.open(suffix, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            parts = []
            while limit > 0 and (part := os.read(fd, min(limit, 1 << 20))):
                parts.append(part)
                limit -= len(part)
            return b"".join(parts)
        finally:
            os.close(fd)

    def version(self, suffix: str) -> tuple[int, int, int] | None:
        """Return what tells a file from the one that replaced it: inode, mtime, length. None: there is no such file."""
        try:
            found = self.path(suffix).lstat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def prepare(self, suffix: str, data: bytes, *, durable: bool) -> None:
        """Write *data* under a temporary name beside the file that `replace` will put it in place of."""
        with self.folder() as folder:
            name = self.key + suffix + _NEW
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                write_all(fd, data, 0)
                if durable:
                    os.fsync(fd)
            except OSError:
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
                raise
            finally:
                os.close(fd)

    def replace(self, suffix: str) -> None:
        """Put what `prepare` wrote in the file's place."""
        with self.folder() as folder:
            os.rename(self.key + suffix + _NEW, self.key + suffix, src_dir_fd=folder, dst_dir_fd=folder)

    def unlink(self, *suffixes: str) -> None:
        """Remove files, those that are there; where somebody removed their folder none is."""
        with suppress(FileNotFoundError), self.folder() as folder:
            for suffix in suffixes:
                with suppress(FileNotFoundError):
                    os.unlink(self.key + suffix, dir_fd=folder)

    def sync(self) -> None:
        """Return once names made, replaced and removed here survive a power loss."""
        with self.folder() as folder:
            os.fsync(folder)


def open_frozen(place: Place) -> int:
    """Open and lock the data file on a disk that takes nothing; where there is none, or none can be read, an empty one.

    Raises StoreBusy, StoreDamaged, OSError.
    """
    try:
        fd = place.open(DATA, os.O_RDONLY)
    except OSError:
        return os.memfd_create("nothing", os.MFD_CLOEXEC)  # of no length, and nobody writes to it
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise _busy(place) from error
    except OSError:
        pass  # NFS locks only what is open for writing; nobody writes there now
    return fd


def _busy(place: Place) -> StoreBusy:
    return StoreBusy(
        f"another process, most likely another mount, has {place.key} open in this cache,"
        " until a minute after its last use; give one of the two a directory of its own to have it in both"
        " (--cache-dir, or --dir of a fetch)"
    )


def open_locked(place: Place) -> int:
    """Open and lock the data file, which is made if need be: the one that has the name *after* the lock is held.

    Raises StoreBusy, StoreDamaged, OSError.
    """
    place.make_folder()
    while True:
        fd = place.open(DATA, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), place.path(DATA).lstat()):
                return fd
        except BlockingIOError as error:
            os.close(fd)
            raise _busy(place) from error
        except FileNotFoundError:
            pass
        except OSError:
            os.close(fd)
            raise
        # Deleted or replaced between open and lock: take the one that has the name now.
        os.close(fd)
