"""Which files a descriptor is to be made of, and what it calls them."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from mountdl.control.text import shown
from mountdl.descriptors import names
from mountdl.descriptors.limits import MAX_FILES
from mountdl.errors import ExitStatus, UsageError


@dataclass(frozen=True, slots=True)
class Found:
    """A file at *place*, called *path* in the descriptor, and what it was when it was found."""

    place: Path
    path: PurePosixPath
    size: int
    mtime_ns: int


def find(given: Sequence[Path], out: Path | None) -> list[Found]:
    """Return the files *given* and those in the folders given, without *out* itself.

    A folder's are sorted, below its own name; links to files are followed, links to folders are not, and
    what is no file (a pipe, a device) is passed over. Raises UsageError.
    """
    own = None if out is None else out.resolve()
    found: list[Found] = []
    taken: set[str] = set()
    for top in given:
        for place, path in sorted(islice(_below(top), MAX_FILES + 1), key=lambda each: each[1].parts):
            info = _asked(place)
            if not stat.S_ISREG(info.st_mode):
                if place == top:
                    raise UsageError(f"{shown(top)} is neither a file nor a folder")
                continue
            if place.resolve() == own:
                if place == top:
                    raise UsageError(f"{shown(top)} is to be read and written at once; name another file with -o")
                continue
            _check_name(path, taken)
            found.append(Found(place, path, info.st_size, info.st_mtime_ns))
            if len(found) > MAX_FILES:
                raise UsageError(f"a descriptor has at most {MAX_FILES} files")
    if not found:
        raise UsageError("there is no file in what was named", ExitStatus.NOT_FOUND)
    return found


def _below(top: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield each file of *top* with the name it gets."""
    name = top.resolve().name if top.name in {"", ".."} else top.name
    if not top.is_dir():
        yield top, PurePosixPath(name)
        return

    def fail(error: OSError) -> None:
        raise UsageError(f"{shown(error.filename)} can't be read: {error.strerror}", ExitStatus.IO) from error

    for folder, _, files in os.walk(top, onerror=fail):
        below = PurePosixPath(name) / PurePosixPath(folder).relative_to(PurePosixPath(top))
        for file in files:
            yield Path(folder) / file, below / file


def _asked(place: Path) -> os.stat_result:
    try:
        return place.stat()
    except FileNotFoundError as error:
        raise UsageError(f"{shown(place)} does not exist", ExitStatus.NOT_FOUND) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{shown(place)} can't be read: {reason}", ExitStatus.IO) from error


def _check_name(path: PurePosixPath, taken: set[str]) -> None:
    name = str(path)
    fault = names.fault(name)
    if fault is None and any("\ufffe" <= c <= "\uffff" or "\ud800" <= c <= "\udfff" for c in name):
        fault = "has characters that no text may have"
    if fault is not None:
        raise UsageError(f"{shown(name)}: no descriptor can have this name, for it {fault}")
    above = any(directory in taken for directory in names.directories(name))
    if name in taken or above:
        raise UsageError(f"{shown(name)}: two of the files named would have this path")
    taken.add(name)
