"""Make sure, before anything is mounted, that a source is one.

Blocking: meant for a worker thread.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from mountdl.catalog.reading import Parse, read
from mountdl.catalog.scan import Place
from mountdl.errors import DescriptorError, ExitStatus, UsageError


def find_place(source: Path, suffixes: frozenset[str], excluded: Iterable[Path], parse: Parse) -> Place:
    """Return where to look for the descriptors of *source*: a folder, or one descriptor that parses.

    Raises UsageError when it is neither, can't be read or is not there.
    """
    try:
        mode = source.stat().st_mode
        root = os.path.realpath(source, strict=True)
    except FileNotFoundError as error:
        raise UsageError(
            f"{source} does not exist; name a folder of descriptors or one descriptor", ExitStatus.NOT_FOUND
        ) from error
    except OSError as error:
        raise _unreadable(source, error) from error
    if stat.S_ISDIR(mode):
        _list(source)
        return Place(root, None, suffixes, frozenset(os.path.realpath(path) for path in excluded))
    if not stat.S_ISREG(mode):
        raise UsageError(f"{source} is neither a folder nor a file; name a folder of descriptors or one descriptor")
    _try(source, suffixes, parse)
    folder = os.path.realpath(source.parent)
    return Place(folder, source.name)


def _list(source: Path) -> None:
    try:
        with os.scandir(source):
            pass
    except OSError as error:
        raise _unreadable(source, error) from error


def _try(source: Path, suffixes: frozenset[str], parse: Parse) -> None:
    document = read(str(source), source.name, parse).document
    said = None if document is None else document.said
    if not isinstance(said, DescriptorError):
        return
    if said.kind == "unreadable":
        raise UsageError(f"{source}: {said}; make it readable for you", ExitStatus.IO)
    if source.suffix.lower() in suffixes:
        raise UsageError(f"{source} can't be used ({said.kind}): {said}", said.exit_status)
    raise UsageError(
        f"{source} is neither a folder nor a descriptor ({said.kind}: {said}); "
        f"descriptors end in {', '.join(sorted(suffixes))}"
    )


def _unreadable(source: Path, error: OSError) -> UsageError:
    return UsageError(f"{source} can't be read: {error.strerror}; make it readable for you", ExitStatus.IO)
