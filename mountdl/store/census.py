"""What the contents that are not open take on disk, and when they were last used.

Law: one look at names and times, no file is opened: 100,000 contents take about a second of a thread, while all else
goes on. The time of the last use is the data file's access time, which `Stored` sets by itself at the last close, so
that it is right on a file system that is mounted without access times too.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from pathlib import Path

from mountdl.content import ContentKey
from mountdl.store.kernel import BLOCK
from mountdl.store.place import DATA, PIN, is_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resting:
    """A content that is not open: *taken* bytes of disk, last used at *used_at*."""

    key: ContentKey
    taken: int
    used_at: float
    pinned: bool


class AtRest:
    """Contents that are not open, what they take together, and which was used longest ago.

    A store may hold 100,000, and who makes room must not look at all of them each time. *age* puts a time of use right.
    """

    __slots__ = ("_age", "_loose", "_now", "_pinned", "taken")

    def __init__(self, found: Iterable[Resting], age: Callable[[float], float]) -> None:
        self._age = age
        self._now = {rest.key: rest for rest in found if rest.taken}
        self.taken = sum(rest.taken for rest in self._now.values())
        # Heaps; what went meanwhile, or is another by now, is passed over when it comes up.
        self._loose = [self._entry(rest) for rest in self._now.values() if not rest.pinned]
        self._pinned = [self._entry(rest) for rest in self._now.values() if rest.pinned]
        heapify(self._loose)
        heapify(self._pinned)

    def _entry(self, rest: Resting) -> tuple[float, ContentKey, int, Resting]:
        return self._age(rest.used_at), rest.key, id(rest), rest

    def add(self, rest: Resting) -> None:
        """Take in that *rest* is not open any more."""
        self.remove(rest.key)
        if rest.taken:
            self._now[rest.key] = rest
            heappush(self._pinned if rest.pinned else self._loose, self._entry(rest))
            self.taken += rest.taken

    def remove(self, key: ContentKey) -> int:
        """Take in that *key* rests no more, if it did; return what it took."""
        rest = self._now.pop(key, None)
        taken = rest.taken if rest is not None else 0
        self.taken -= taken
        return taken

    def oldest(self, *, pinned: bool) -> Resting | None:
        """Return the one that was used longest ago of those that are *pinned*, or of those that are not."""
        heap = self._pinned if pinned else self._loose
        while heap and self._now.get(heap[0][1]) is not heap[0][3]:
            heappop(heap)
        return heap[0][3] if heap else None


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


def at_rest(contents: Path, age: Callable[[float], float]) -> AtRest:
    """Return all contents there in the order of their use. For a worker thread."""
    return AtRest(take(contents).values(), age)


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
            yield Resting(ContentKey(key), stat.st_blocks * BLOCK, stat.st_atime, key in pins)
