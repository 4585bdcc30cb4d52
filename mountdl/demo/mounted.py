"""The mount of the demo: `mountdl mount` in a child process, as a user would run it.

Law: `stop` leaves nothing, whatever `start` had got to: no process, no mount.
"""

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import mountdl
from mountdl.control import mounttable
from mountdl.control.text import shown
from mountdl.errors import ContentUnavailable, ExitStatus, StoreError, UsageError

_PATIENCE = 20.0
_POLL = 0.005
_READ_TIMEOUT = 20
"""Seconds. A Ctrl-C waits for the read under way: the kernel gives up on it only when the reader is killed."""
_ALONE = ("--enable-dht=false", "--bt-exclude-tracker=*", "--interface=127.0.0.1")
"""Who has libtorrent joins the torrent's swarm, where nobody is: no other machine shall hear of it."""
_DEAD = {errno.ENOTCONN, errno.ECONNABORTED}
"""What the kernel says of a mount whose process has ended: once it has, and of what was asked before."""
_TOLD = 400
"""Characters of the child's last words that are repeated."""


class Mount:
    """A mount of *source* on *mountpoint* whose store is in *scratch*, where its log goes too.

    Nothing may interrupt the start of the child, or nobody would know it: *held* sees to that.
    """

    def __init__(
        self, source: Path, mountpoint: Path, scratch: Path, held: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.source, self.mountpoint = source, mountpoint
        self._scratch, self._held = scratch, held
        self._log = scratch / "mount.log"
        self._child: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the child."""
        arguments = ["mount", "--foreground", "--background", "off", "--read-timeout", str(_READ_TIMEOUT)]
        arguments += ["--cache-dir", str(self._scratch / "store"), *_ALONE]
        with self._held(), self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "mountdl", *arguments, "--", str(self.source), str(self.mountpoint)],
                env=environment(self._scratch),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                # A Ctrl-C is for the demo, which ends the child in its turn.
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """Return once reads work. Raises UsageError with the child's own words when it can't mount."""
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._child is None or self._child.poll() is not None:
                raise UsageError(f"the mount failed: {self._last_words()}", ExitStatus.UNKNOWN)
            if time.monotonic() > deadline:
                raise UsageError(f"the mount is not there after {_PATIENCE:g} s", ExitStatus.TIMEOUT)
            time.sleep(_POLL)

    def _answers(self) -> bool:
        # The table first: only what is mounted is asked, and that answers once reads work.
        if mounttable.on(self.mountpoint) is None:
            return False
        with contextlib.suppress(OSError):
            return bool(os.listdir(self.mountpoint))  # noqa: PTH208  # names suffice
        return False

    def stop(self) -> None:
        """Unmount, and end the child. A second call does nothing. Raises StoreError when the mount stays."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if mounttable.on(self.mountpoint) is not None:
            refused = mounttable.unmount(self.mountpoint, lazy=True)
            if refused is not None:
                raise StoreError(f"{self.mountpoint} can't be unmounted: {refused}")

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return *length* bytes, fewer at the end, of the file *name* in the mount. ContentUnavailable if it can't."""
        try:
            with (self.mountpoint / name).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), length, offset)
        except OSError as error:
            raise ContentUnavailable(
                f"{name} can't be read at byte {offset}: {error.strerror}; {self._reasons(name)}"
            ) from error

    def attribute(self, name: str, attribute: str) -> str:
        """Return the extended attribute user.mountdl.*attribute* of the file *name*."""
        return os.getxattr(self.mountpoint / name, f"user.mountdl.{attribute}").decode(errors="replace")

    def on_disk(self, name: str) -> int:
        """Return the bytes of the file *name* that are on disk, as du(1) counts them."""
        return (self.mountpoint / name).stat().st_blocks * 512

    @contextlib.contextmanager
    def missed(self) -> Iterator[None]:
        """Raise StoreError with its last words where what the context asks of it fails because it is dead."""
        try:
            yield
        except OSError as error:
            if error.errno in _DEAD:
                raise StoreError(f"the demo can't go on: the mount is dead: {self._last_words()}") from error
            raise

    def _reasons(self, name: str) -> str:
        """Return what the mount has to say of a read of *name* that failed."""
        try:
            told = self.attribute(name, "sources")
        except OSError:
            return f"the mount is dead: {self._last_words()}"
        return "its mirrors: " + ", ".join(" ".join(line.split("\t")) for line in told.splitlines())

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return shown(lines[-1][-_TOLD:]) if lines else "it said nothing"


def environment(scratch: Path) -> dict[str, str]:
    """Return the environment of the mount: this package, no settings of the user's, no proxy for 127.0.0.1.

    Nor does it tell a service manager that it is ready: the demo may be run by one.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MOUNTDL_") and not name.lower().endswith("_proxy") and name != "NOTIFY_SOCKET"
    }
    package = str(Path(mountdl.__file__).resolve().parent.parent)
    paths = os.pathsep.join([package, *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "XDG_CONFIG_HOME": str(scratch / "config")}
