"""Which mounts of this user are alive: a file for each in the runtime directory, locked by its daemon.

Law: an entry is alive exactly while its file is locked, so nothing that a killed daemon left behind is ever
believed; entries appear complete and locked, and change only under the lock of the directory.
Docs: docs/formats.md knows nothing of it; the files mean nothing after a reboot.
"""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mountdl.control import mounttable
from mountdl.errors import ExitStatus, UsageError, write_status

MAX_ENTRY = 64 << 10
_POLL = 0.02


class Entry(NamedTuple):
    """A mount: the daemon *pid* serves *source* on *mountpoint* and listens on *socket*; *started* in Unix time."""

    mountpoint: str
    source: str
    pid: int
    socket: str
    started: float

    @property
    def state(self) -> str | None:
        """The daemon's state as proc_pid_stat(5) has it, one letter; None when there is no such process."""
        try:
            # Pid, name in brackets, which may hold anything, state.
            return Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
        except (OSError, IndexError):
            return None

    def holds(self, path: Path) -> bool:
        """Say whether *path* is the mount or in it."""
        return path.is_relative_to(self.mountpoint)


class Registry:
    """The entries in *directory*."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of_user(cls) -> "Registry":
        """Return this user's registry. UsageError when somebody else could write to it."""
        directory = runtime_directory()
        _prepare(directory)
        return cls(directory)

    @contextlib.contextmanager
    def entered(self, mountpoint: Path, source: str) -> Iterator[Entry]:
        """Register this process as the daemon of *mountpoint* while the context lasts.

        Raises UsageError when another one serves it. One that stays for open files only is listed no more from then on.
        """
        import hashlib

        name = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:24]
        path, socket = self.directory / f"{name}.json", self.directory / f"{name}.sock"
        entry = Entry(str(mountpoint), source, os.getpid(), str(socket), time.time())
        held = self._enter(path, entry)
        try:
            yield entry
        finally:
            with self._locked():
                if _is(path, held):  # else another daemon serves the place by now, see `left`
                    path.unlink()
                    socket.unlink(missing_ok=True)
            os.close(held)

    def _enter(self, path: Path, entry: Entry) -> int:
        fresh = path.with_suffix(f".{os.getpid()}")
        with self._locked():
            old = self._judged(path)
            if old is not None and not left(old):
                raise UsageError(
                    f"{entry.mountpoint} is busy: mountdl (process {old.pid}) serves it; mountdl unmount it first",
                    ExitStatus.UNKNOWN,
                )
            held = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(held, fcntl.LOCK_EX)
            os.write(held, json.dumps(entry._asdict()).encode())
            fresh.replace(path)
        return held

    def alive(self) -> list[Entry]:
        """Return the mounts that are served now, oldest first; what dead daemons left is removed."""
        with self._locked():
            found = [self._judged(path) for path in self.directory.glob("*.json")]
        return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.started)

    def serving(self, path: Path) -> Entry | None:
        """Return the innermost mount that *path* is or lies in."""
        return max(
            (entry for entry in self.alive() if entry.holds(path)),
            key=lambda entry: len(entry.mountpoint),
            default=None,
        )

    def gone(self, entry: Entry, timeout: float) -> bool:
        """Wait until the daemon of *entry* has ended; say whether it did within *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while any(each.pid == entry.pid and each.mountpoint == entry.mountpoint for each in self.alive()):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _judged(self, path: Path) -> Entry | None:
        """Return the entry at *path* if its daemon lives; else remove it. Under the lock of the directory."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _parsed(os.read(file, MAX_ENTRY))
        else:
            path.unlink(missing_ok=True)
            path.with_suffix(".sock").unlink(missing_ok=True)
            return None
        finally:
            os.close(file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)


def left(entry: Entry) -> bool:
    """Say whether the mount of *entry* was taken away (umount -l) and its daemon stays for files that are open.

    Not while it starts or ends: it has its socket from when it is mounted until it is not.
    """
    return Path(entry.socket).exists() and mounttable.on(Path(entry.mountpoint)) is None


def _is(path: Path, held: int) -> bool:
    """Say whether *path* names the open file *held*."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(held))
    except FileNotFoundError:
        return False


def runtime_directory() -> Path:
    """Return where this user's entries are."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    # Root's mounts are the machine's: boot, sudo and a login must see the same ones.
    if os.geteuid() == 0:
        return Path("/run/mountdl")
    if given.startswith("/") and Path(given).is_dir():
        return Path(given) / "mountdl"
    return Path(f"/tmp/mountdl-{os.getuid()}")  # noqa: S108  # _prepare refuses one that is not ours


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise UsageError(f"can't use {directory}: {error.strerror}", write_status(error)) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UsageError(
            f"{directory} must be a directory that belongs to you and nobody else may enter (mode 0700); remove it",
            ExitStatus.IO,
        )


def _parsed(data: bytes) -> Entry | None:
    try:
        value = json.loads(data)
        return Entry(**{name: kind(value[name]) for name, kind in _FIELDS.items()})
    except (ValueError, KeyError, TypeError):
        return None


_FIELDS = {"mountpoint": str, "source": str, "pid": int, "socket": str, "started": float}
