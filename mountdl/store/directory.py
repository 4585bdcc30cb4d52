"""The directory of the store: private, marked as a cache, and of a version that this program can read.

Knows no contents. Blocking, but short.
"""

import os
from pathlib import Path

from mountdl.errors import ExitStatus, UsageError, write_status

_LAYOUT = "1"
# https://bford.info/cachedir/: backup programs leave such directories out.
_CACHEDIR_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Downloads kept by mountdl; safe to delete.\n"


def prepare(directory: Path, contents: Path, option: str) -> None:
    """Make *directory*, and *contents* in it, if need be. UsageError has a remedy: *option*, which names another."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        contents.mkdir(mode=0o700, exist_ok=True)
        if contents.is_symlink():
            raise NotADirectoryError(20, "Not a directory", str(contents))
        if not os.access(contents, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "no permission to write, or the file system is read-only", str(contents))
        _mark(directory / "layout", _LAYOUT + "\n")
        _mark(directory / "CACHEDIR.TAG", _CACHEDIR_TAG)
        layout = _layout(directory / "layout")
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"can't keep the cache in {directory}: {reason}"
        raise UsageError(f"{text}; name another directory with {option}", write_status(error)) from error
    if layout not in {_LAYOUT, ""}:
        text = f"the cache in {directory} is of another version of mountdl (layout {layout!r})"
        raise UsageError(f"{text}; name another directory with {option}", ExitStatus.IO)


def _mark(path: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        return


def _layout(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, 32).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
