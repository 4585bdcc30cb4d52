"""A finished content out of the store as a normal file: for `mountdl cache export`, `--graduate` and `mountdl fetch`.

Law: what goes out is whole and what was stored, or is not there at all, whatever becomes of the store meanwhile; it
never replaces a file, leaves nothing behind, and is never a hard link of what the store keeps, which punches holes.
"""

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mountdl.content import Content
from mountdl.control.text import shown
from mountdl.errors import ExitStatus, StoreError, UsageError, write_status
from mountdl.integrity import ChunkMap, Digest, WholeCheck
from mountdl.store.place import DATA, FILES, PIN, Place, write_all
from mountdl.store.standing import settled, standing
from mountdl.store.sums import Sums, sums_of

STEP = 1 << 20
"""Bytes at a time: some leaves of `Sums`."""
TRIES = 3
"""How often it is begun where something of the content changes meanwhile that may be nothing but a date."""
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What link(2) says where a file can't have a second name."""
_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
"""What open(2) says where there are no files without a name; some old kernels take O_TMPFILE for another flag."""
_FICLONE = 0x40049409  # linux/fs.h


@dataclass(slots=True)
class _Made:
    """The file *fd* that is being made, beside the place where it will be; *name* if it has one by now."""

    fd: int
    name: Path | None


def handed_out(place: Place, digest: Digest | None, target: Path, tell: Callable[[int], None]) -> str | None:
    """Make *target* of the content in *place*, which must have *digest*; return how, None if not all of it is here.

    *tell* hears of bytes as they are done. May run in a worker thread. Raises UsageError, StoreError.
    """
    try:
        fd = place.open(DATA, os.O_RDONLY)
    except FileNotFoundError:
        return None
    sums = Sums(place)
    try:
        for _ in range(TRIES):
            before = standing(place, fd)
            if before is None:
                return None
            with _made(target) as made:
                how = "reflinked" if _reflinked(fd, made.fd) else "copied"
                check = None if digest is None else WholeCheck(digest, before.size)
                known = _filled(made.fd, fd if how == "copied" else None, before.size, (sums, check), tell)
                sound = known if check is None else check.verified
                if not sound and standing(place, fd) != before:
                    tell = _ignored
                    continue
                if not sound and before.holed:
                    return None
                if sound is False:
                    wrong = f"{shown(target.name)} in the cache is not sound; mountdl cache verify"
                    raise UsageError(wrong, ExitStatus.CHECKSUM)
                _finished(made, target)
                return how if check is not None else f"{how}, without a digest of the whole to check it by"
    except OSError as error:
        raise _failed(error, target) from error
    finally:
        os.close(fd)
        sums.close()
    return None


def moved_out(place: Place, digest: Digest | None, target: Path, mtime_ns: int, tell: Callable[[int], None]) -> None:
    """Make the file of the content in *place*, which nobody has open, *target*: the store has it no longer.

    All of it must be on record; with *digest*, it must have that. *tell* hears of bytes as they are checked. May run in
    a worker thread. Raises UsageError, StoreError; then it stays in the store.
    """
    try:
        fd = place.open(DATA, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"what was fetched for {shown(target.name)} is gone: {error.strerror}") from error
    try:
        size = settled(place, fd)
        if size is None:
            raise StoreError(f"not all of {shown(target.name)} is on record")
        if digest is not None and not _matches(fd, digest, size, tell):
            contradiction = f"{shown(target.name)} is not what its digest {digest} says, though its pieces matched"
            raise UsageError(contradiction, ExitStatus.CHECKSUM)
        with suppress(PermissionError):  # FAT has no modes
            os.fchmod(fd, 0o644 & ~_umask())
        _date(fd, mtime_ns)
        _named(place.path(DATA), target)
        place.unlink(PIN, *FILES)
    except OSError as error:
        raise _failed(error, target) from error
    finally:
        os.close(fd)


def moved_before(place: Place, target: Path) -> bool:
    """Say whether *target* is what `moved_out` made of *place* and was stopped at, and let the store have it no longer.

    In a worker thread. Raises UsageError.
    """
    try:
        if not os.path.samestat(place.path(DATA).lstat(), target.lstat()):
            return False
        place.unlink(PIN, *FILES)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(error, target) from error
    return True


def doubled(original: Path, target: Path, mtime_ns: int) -> None:
    """Make *target* a file with the bytes of *original*. In a worker thread. Raises UsageError."""
    try:
        with original.open("rb") as source, _made(target) as made:
            if not _reflinked(source.fileno(), made.fd):
                at = 0
                while data := source.read(STEP):
                    write_all(made.fd, data, at)
                    at += len(data)
            _date(made.fd, mtime_ns)
            _finished(made, target)
    except OSError as error:
        raise _failed(error, target) from error


def matching(file: Path, content: Content, tell: Callable[[int], None]) -> bool:
    """Say whether *file* is one, as long as *content*, and contradicts not its digest, or those of its pieces.

    In a worker thread. Raises UsageError.
    """
    try:
        if not file.is_file():
            return False
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that it became must not hold us
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != content.size:
                return False
            if content.digest is not None:
                return _matches(fd, content.digest, content.size, tell)
            return all(_chunk_matches(fd, content.chunk_map, index, tell) for index in range(content.chunk_map.count))
        finally:
            os.close(fd)
    except OSError as error:
        raise UsageError(f"{shown(file)} can't be read: {error.strerror}", ExitStatus.IO) from error


def _matches(fd: int, digest: Digest, size: int, tell: Callable[[int], None]) -> bool:
    check = WholeCheck(digest, size)
    for at in range(0, size, STEP):
        data = os.pread(fd, STEP, at)
        check.update(data)
        tell(len(data))
    return check.verified


def _chunk_matches(fd: int, chunk_map: ChunkMap, index: int, tell: Callable[[int], None]) -> bool:
    if chunk_map.algorithm is None:
        return True
    judged, check = chunk_map.judged(index), chunk_map.check(index)
    for at in range(judged.start, judged.stop, STEP):
        data = os.pread(fd, min(STEP, judged.stop - at), at)
        check.update(data)
        tell(len(data))
    return check.verified


def _filled(
    made: int, source: int | None, size: int, checks: tuple[Sums, WholeCheck | None], tell: Callable[[int], None]
) -> bool | None:
    """Read *made*, or fill it from *source*; say whether all leaves are what was stored, None where one has no sum."""
    sums, check = checks
    right: bool | None = True
    for at in range(0, size, STEP):
        data = os.pread(made if source is None else source, min(STEP, size - at), at)
        if len(data) != min(STEP, size - at):
            raise StoreError("the cache does not give back all of it")
        if check is not None:
            check.update(data)
        else:
            told = {number: (crc, sums.recall(number)) for number, crc in sums_of(memoryview(data), at, size).items()}
            if any(stored is not None and stored != crc for crc, stored in told.values()):
                right = False
            elif right and any(stored is None for _, stored in told.values()):
                right = None
        if source is not None:
            write_all(made, data, at)
        tell(len(data))
    return right


@contextmanager
def _made(target: Path) -> Iterator[_Made]:
    """Open a new file for *target*, without a name where there are such files: those go however we end."""
    made = _nameless(target.parent) or _hidden(target)
    try:
        yield made
    finally:
        os.close(made.fd)
        if made.name is not None:
            made.name.unlink(missing_ok=True)


def _nameless(folder: Path) -> _Made | None:
    if not Path("/proc/self/fd").is_dir():  # by which it gets its name
        return None
    try:
        return _Made(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), None)
    except OSError as error:
        if error.errno in _NAMELESS and folder.is_dir():
            return None
        raise


def _hidden(target: Path) -> _Made:
    fd, name = tempfile.mkstemp(prefix=f".{target.name[:200]}.", dir=target.parent)
    return _Made(fd, Path(name))


def _finished(made: _Made, target: Path) -> None:
    """Have *made* on the disk and call it *target*. Raises FileExistsError where something has that name."""
    os.fsync(made.fd)
    with suppress(PermissionError):  # FAT has no modes
        os.fchmod(made.fd, 0o644 & ~_umask())
    if made.name is None:
        folder = os.open(target.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # given a folder, Python has the kernel follow the link to the file
            os.link(f"/proc/self/fd/{made.fd}", target.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)
        return
    _named(made.name, target)


def _named(file: Path, target: Path) -> None:
    """Call *file* *target*, too or instead. Raises FileExistsError where something has that name."""
    try:
        os.link(file, target, follow_symlinks=False)  # unlike rename it never replaces what came there meanwhile
    except OSError as error:
        # FAT, and many network file systems, have no second names.
        if error.errno not in _NO_LINKS or os.path.lexists(target):
            raise
        file.rename(target)


def _failed(error: OSError, target: Path) -> UsageError:
    if isinstance(error, FileExistsError) or (error.errno in _NO_LINKS and os.path.lexists(target)):
        return there(target)
    return UsageError(f"can't write {shown(target)}: {error.strerror}", write_status(error))


def there(target: Path) -> UsageError:
    """Return what is said of a *target* that exists."""
    return UsageError(f"{shown(target)} is there already")


def _date(fd: int, mtime_ns: int) -> None:
    """Give the file *fd* its date, as far as the file system has it; it counts as read now."""
    with suppress(OSError, OverflowError):
        os.utime(fd, ns=(time.time_ns(), mtime_ns))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _reflinked(source: int, made: int) -> bool:
    with suppress(OSError):
        fcntl.ioctl(made, _FICLONE, source)
        return True
    return False


def _ignored(count: int) -> None:
    """Nobody is told of *count* bytes that are done once more."""
