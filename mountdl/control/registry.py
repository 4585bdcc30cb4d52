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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mountdl.control import mounttable
from mountdl.errors import ExitStatus, UsageError, write_status

MAX_ENTRY = 64 << 10
_POLL = 0.02
_ENDED = {"Z", "X"}


class Entry(NamedTuple):
    """A mount: the daemon *pid* serves *source* on *mountpoint* and listens on *socket*; *started* in Unix time.

    *born* is when the process began, in ticks since the boot: another one has the same number later, or elsewhere. Of
    an `unlisted` one only *mountpoint* and *pid* are known.
    """

    mountpoint: str
    source: str
    pid: int
    socket: str
    started: float
    born: int = 0

    @property
    def state(self) -> str | None:
        """The daemon's state as proc_pid_stat(5) has it, one letter; None when there is no such process."""
        found = _process(self.pid)
        return found and found[0]

    @property
    def ending(self) -> bool:
        """Whether its process, which is on the list no more, has still to end: its log is open as long."""
        found = _process(self.pid)
        return found is not None and self.pid != os.getpid() and found[1] == self.born and found[0] not in _ENDED

    def holds(self, path: Path) -> bool:
        """Say whether *path* is the mount or in it."""
        return path.is_relative_to(self.mountpoint)


class Registry:
    """The entries in *directory*, which gets new ones, and in *others*, as far as these are there."""

    def __init__(self, directory: Path, others: Sequence[Path] = ()) -> None:
        self.directory, self._others = directory, tuple(others)

    @classmethod
    def of_user(cls) -> "Registry":
        """Return this user's registry. UsageError when somebody else could write to it."""
        directory, *others = _places(os.geteuid(), os.environ.get("XDG_RUNTIME_DIR", ""))
        _prepare(directory)
        return cls(directory, [other for other in others if _own(other)])

    @contextlib.contextmanager
    def entered(self, mountpoint: Path, source: str) -> Iterator[Entry]:
        """Register this process as the daemon of *mountpoint* while the context lasts.

        Raises UsageError when another one serves it. One that stays for open files only is listed no more from then on.
        """
        path = self.directory / _file(mountpoint)
        socket = path.with_suffix(".sock")
        _, born = _process(os.getpid()) or ("", 0)
        entry = Entry(str(mountpoint), source, os.getpid(), str(socket), time.time(), born)
        held = self._enter(path, entry)
        try:
            yield entry
        finally:
            # The directory is gone with the session that it was of, where that ended before.
            with contextlib.suppress(FileNotFoundError), _locked(self.directory):
                if _is(path, held):  # else another daemon serves the place by now, see `left`
                    path.unlink()
                    socket.unlink(missing_ok=True)
            os.close(held)

    def _enter(self, path: Path, entry: Entry) -> int:
        fresh = path.with_suffix(f".{os.getpid()}")
        with _locked(self.directory):
            old = _judged(path)
            if old is not None and not left(old):
                raise UsageError(
                    f"{entry.mountpoint} is busy: mountdl (process {old.pid}) serves it; mountdl unmount it first",
                    ExitStatus.UNKNOWN,
                )
            held = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(held, fcntl.LOCK_EX)
            os.write(held, json.dumps(entry._asdict()).encode())
            # With the sticky bit systemd-tmpfiles and its like clean it away from nowhere, however old it is: XDG Base
            # Directory Specification, XDG_RUNTIME_DIR. A socket that is listened at they leave anyway.
            os.fchmod(held, 0o1600)
            fresh.replace(path)
        return held

    def alive(self) -> list[Entry]:
        """Return the mounts that are served now, oldest first; what dead daemons left is removed."""
        found = _judged_in(self.directory)
        for other in self._others:
            with contextlib.suppress(OSError):  # gone since: a session's directory goes with it
                found += _judged_in(other)
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
        while self._serves(entry):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _serves(self, entry: Entry) -> bool:
        if not entry.socket:
            return entry.state not in {None, *_ENDED}
        listed = any(each.pid == entry.pid and each.mountpoint == entry.mountpoint for each in self.alive())
        return listed or entry.ending


def unlisted(mountpoint: Path, user: int, processes: Path = Path("/proc")) -> Entry | None:
    """Return the mount of *user* on *mountpoint* that our registry does not list, as root's does none of others.

    Theirs are not looked into: whoever can write there could lead us anywhere. Its daemon is the process that has its
    entry open, proc_pid_fd(5); who has another file of that name open is waited for in vain, no longer than for it.
    """
    name = _file(mountpoint)
    for process in processes.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if process.stat().st_uid == user and any(Path(file).name == name for file in _open(process)):
                return Entry(str(mountpoint), "", int(process.name), "", 0.0)
    return None


def _process(pid: int) -> tuple[str, int] | None:
    """Return state and time of birth of process *pid*, see `Entry`; None when there is no such process."""
    try:
        # Pid, name in brackets, which may hold anything, state, and the 22nd: starttime.
        told = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return told[0].decode(), int(told[19])
    except (OSError, IndexError):
        return None


def _open(process: Path) -> Iterator[str]:
    """Yield what *process* has open, as text: a look at a path could block, at a link of proc(5) none does."""
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed since
            yield os.readlink(link)  # noqa: PTH115  # may be "pipe:[1]"


def _file(mountpoint: Path) -> str:
    """Return what the entry of *mountpoint* is called."""
    import hashlib

    return f"{hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:24]}.json"


def _judged_in(directory: Path) -> list[Entry | None]:
    with _locked(directory):
        return [_judged(path) for path in directory.glob("*.json")]


def _judged(path: Path) -> Entry | None:
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
def _locked(path: Path) -> Iterator[None]:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
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


def _places(user: int, given: str) -> list[Path]:
    """Return where entries of *user* are, first where new ones go; *given* is XDG_RUNTIME_DIR."""
    # Root's mounts are the machine's: boot, sudo and a login must see the same ones.
    if user == 0:
        return [Path("/run/mountdl")]
    # A login has the first, cron, sudo and fstab's setuid= the second. Not the first for all: it goes with the login.
    usual = [Path(f"/run/user/{user}/mountdl"), Path(f"/tmp/mountdl-{user}")]  # noqa: S108  # see _own
    own = Path(given) / "mountdl" if given.startswith("/") and Path(given).is_dir() else usual[1]
    return [own, *(each for each in usual if each != own)] if own in usual else [own]


def _own(directory: Path) -> bool:
    """Say whether *directory* is one that only this user may enter."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.lstat()
    except OSError as error:
        raise UsageError(f"can't use {directory}: {error.strerror}", write_status(error)) from error
    if not _own(directory):
        raise UsageError(
            f"{directory} must be a directory that belongs to you and nobody else may enter (mode 0700); remove it",
            ExitStatus.IO,
        )


def _parsed(data: bytes) -> Entry | None:
    try:
        value = json.loads(data)
        return Entry(**{name: kind(value[name]) for name, kind in _FIELDS.items()}, born=int(value.get("born", 0)))
    except (ValueError, KeyError, TypeError):
        return None


_FIELDS = {"mountpoint": str, "source": str, "pid": int, "socket": str, "started": float}
