"""The store of a fetch, in the folder that its files go to: there while it is used or something in it waits.

Law: as long as anybody is inside it stays, whoever else ends; no file gets a name in it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from mountdl.control.text import shown
from mountdl.errors import UsageError, write_status
from mountdl.store.place import DATA


@contextmanager
def shared(store: Path) -> Iterator[Callable[[], bool]]:
    """Have *store*, which is made if need be, stay while inside; yield what says whether nobody else is inside.

    Raises UsageError.
    """
    fd = _held(store)
    while fd is None:
        fd = _held(store)
    try:
        yield partial(_locked, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)


def _held(store: Path) -> int | None:
    """Return *store*, open and locked with others; None if it was removed meanwhile."""
    try:
        store.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{shown(store)} can't be used: {error.strerror}", write_status(error)) from error
    _locked(fd, fcntl.LOCK_SH)
    with suppress(OSError):
        if os.path.samestat(os.fstat(fd), store.stat()):
            return fd
    os.close(fd)
    return None


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how)
    except BlockingIOError:
        return False
    except OSError:
        return how == fcntl.LOCK_SH  # not all network file systems can: then it stays
    return True


def waits(store: Path) -> bool:
    """Say whether anything is in *store* that could be gone on with, as far as can be told."""
    with suppress(OSError):
        return any(path.stat().st_blocks for path in (store / "contents").glob(f"*/*{DATA}"))
    return True


def tidy(store: Path) -> None:
    """Remove *store* when nothing is left in it that could be gone on with."""
    if not waits(store):
        shutil.rmtree(store, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make *path*, for files to go to, if need be. Raises UsageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{shown(path)} is no folder") from error
    except OSError as error:
        raise UsageError(f"{shown(path)} can't be made: {error.strerror}", write_status(error)) from error


def taken(store: Path, target: Path) -> bool:
    """Say whether something has the name *target*.

    Raises UsageError when that is to be in *store*, however it is spelt: there a name is not what it seems.
    """
    with suppress(OSError):
        kept = store.stat()
        for path in (target, *target.parents):
            with suppress(OSError):
                if os.path.samestat(path.stat(), kept):
                    why = f"{shown(store)} is kept for what is not whole: nothing of this name can be fetched"
                    raise UsageError(why)
    return os.path.lexists(target)
