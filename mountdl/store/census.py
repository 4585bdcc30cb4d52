"""What the contents that are not open take on disk, and when they were last used.

Law: one look at names and times, no file is opened: 100,000 contents take about a second of a thread, while all else
goes on. The time of the last use is the data file's access time, which `Stored` sets by itself at the last close, so
that it is right on a file system that is mounted without access times too.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mountdl.content import ContentKey
from mountdl.store.place import DATA, PIN, is_key

log = logging.getLogger(__name__)

_STAT_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Resting:
    """A content that is not open: *taken* bytes of disk, last used at *used_at*."""

    key: ContentKey
    taken: int
    used_at: float
    pinned: bool


def prefixes(contents: Path) -> list[str]:
    """Return the folders below *contents*."""
    with os.scandir(contents) as found:
        return [entry.path for entry in found if len(entry.name) == 2 and entry.is_dir(follow_symlinks=False)]


def keys(contents: Path) -> Iterator[ContentKey]:
    """Yield the key of every data file. Names are all it looks at: 100,000 contents take a fifth of a second."""
    for folder in prefixes(contents):
        try:
            with os.scandir(folder) as files:
                names = [entry.name for entry in files]
        except OSError as error:
            log.warning("can't list %s: %s", folder, error.strerror)
            continue
        for name in names:
            if name.endswith(DATA) and is_key(key := name[: -len(DATA)]):
                yield ContentKey(key)


def take(contents: Path) -> dict[ContentKey, Resting]:
    """Return all contents there. For a worker thread."""
    found: dict[ContentKey, Resting] = {}
    try:
        folders = prefixes(contents)
    except OSError:
        return found
    for folder in folders:
        for each in _folder(folder):
            found[each.key] = each
    return found


def _folder(folder: str) -> Iterator[Resting]:
    try:
        with os.scandir(folder) as files:
            entries = list(files)
    except OSError:
        return
    pins = {entry.name[: -len(PIN)] for entry in entries if entry.name.endswith(PIN)}
    for entry in entries:
        key = entry.name[: -len(DATA)]
        if entry.name.endswith(DATA) and is_key(key):
            try:
                stat = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield Resting(ContentKey(key), stat.st_blocks * _STAT_BLOCK, stat.st_atime, key in pins)
