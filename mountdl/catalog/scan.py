"""Look at what descriptor files a source has.

Law: what can't be listed is not gone. Only a folder that was listed, and does not name a file, is
evidence against that file; a folder that can't be listed stays as it was.

Names that start with a dot are skipped, files and folders: editors, rsync and downloaders write their
unfinished files under such names. Links to folders are followed after all real folders, and no folder is
entered twice, so links in circles end. Blocking: meant for worker threads, in steps.
"""

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


_FIELD = (1 << 64) - 1


class Stamp(int):
    """What changes when a file does, in one number: a tuple of four takes 200 bytes, this 64, and each file has two."""

    __slots__ = ()

    def __new__(cls, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> "Stamp":
        """Put the fields side by side, 64 bits each; the date on top may be longer and below zero."""
        return super().__new__(
            cls, mtime_ns << 192 | (inode & _FIELD) << 128 | (size & _FIELD) << 64 | ctime_ns & _FIELD
        )

    @property
    def mtime_ns(self) -> int:
        """When its bytes changed."""
        return self >> 192

    @classmethod
    def of(cls, info: os.stat_result) -> "Stamp":
        """Return the stamp that *info* holds."""
        return cls(info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


UNKNOWN = Stamp(0, -1, 0, 0)
"""The stamp of a file that is there but can't be asked."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look: below *root*, a real path, for names with one of *suffixes*, or for the one file *only*.

    *excluded* are real paths of folders never to enter: the mount's own.
    """

    root: str
    only: str | None = None
    suffixes: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    def wants(self, name: str) -> bool:
        """Say whether *name* is that of a descriptor."""
        if self.only is not None:
            return name == self.only
        return not name.startswith(".") and os.path.splitext(name)[1].lower() in self.suffixes  # noqa: PTH122

    def path(self, relative: str) -> str:
        """Return the absolute path of *relative*, where "" is the root."""
        return f"{self.root}/{relative}" if relative else self.root


@dataclass(frozen=True, slots=True)
class Listing:
    """What one folder holds: descriptors with their stamps, real folders, links to folders."""

    files: Mapping[str, Stamp] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()


def join(folder: str, name: str) -> str:
    """Return the relative path of *name* in *folder*."""
    return f"{folder}/{name}" if folder else name


def list_folder(place: Place, folder: str) -> Listing:
    """List *folder*. Raises OSError when that can't be done."""
    if place.only is not None:
        info = os.stat(place.path(place.only))  # noqa: PTH116  # text paths: twice as fast over 10,000 files
        return Listing({place.only: Stamp.of(info)})
    files: dict[str, Stamp] = {}
    folders: set[str] = set()
    links: set[str] = set()
    with os.scandir(place.path(folder)) as found:
        for candidate in found:
            name = candidate.name
            if name.startswith("."):
                continue
            if candidate.is_dir(follow_symlinks=False):
                folders.add(name)
            elif place.wants(name) or candidate.is_symlink():
                target = _ask(candidate)
                if target is None or stat.S_ISREG(target.st_mode):
                    if place.wants(name):
                        files[name] = UNKNOWN if target is None else Stamp.of(target)
                elif stat.S_ISDIR(target.st_mode):
                    links.add(name)
    return Listing(files, frozenset(folders), frozenset(links))


_NOTHING = os.stat_result((0,) * 10)


def _ask(candidate: "os.DirEntry[str]") -> os.stat_result | None:
    """Return what *candidate* is: None when it can't be asked, neither file nor folder when it leads nowhere."""
    try:
        return candidate.stat()
    except OSError as error:
        return _NOTHING if error.errno in _GONE else None


class Walk:
    """One pass over a whole place, made in steps so that it can be given up in between.

    *add_watch* is called with each folder's path before that is listed, so that no change falls between.
    """

    def __init__(
        self, place: Place, earlier: Mapping[str, Listing], add_watch: Callable[[str], int | None] | None = None
    ) -> None:
        self._place = place
        self._earlier = earlier
        self._add_watch = add_watch
        # Folders to enter, each with its real path.
        self._real = deque([("", place.root)])
        self._links: deque[str] = deque()
        self._entered: set[tuple[int, int]] = set()
        self.listings: dict[str, Listing] = {}
        self.watches: dict[int, str] = {}
        self.device = 0
        self.problem: str | None = None
        """What could not be listed, as a sentence, or None."""

    def step(self, budget: float) -> bool:
        """Go on for about *budget* seconds; return True once all is listed.

        Raises OSError when the root can't be listed.
        """
        deadline = time.monotonic() + budget
        while self._real or self._links:
            if self._real:
                self._visit(*self._real.popleft())
            else:
                link = self._links.popleft()
                self._visit(link, os.path.realpath(self._place.path(link)))
            if time.monotonic() > deadline:
                break
        return not (self._real or self._links)

    def _visit(self, folder: str, path: str) -> None:
        # By path and before anything is asked of it: an answer may have to come from this very process.
        if path in self._place.excluded:
            return
        try:
            listing = self._enter(folder, path)
        except OSError as error:
            if not folder:
                raise
            if error.errno not in _GONE:
                self.problem = f"{folder} can't be listed: {error.strerror}"
                self._keep(folder)
            return
        if listing is not None:
            before = self._earlier.get(folder)
            # The one that others hold already: two of 100,000 files take 20 MB.
            self.listings[folder] = before if before == listing else listing
            self._real.extend((join(folder, name), f"{path}/{name}") for name in sorted(listing.folders))
            self._links.extend(join(folder, name) for name in sorted(listing.links))

    def _enter(self, folder: str, path: str) -> Listing | None:
        info = os.stat(path)  # noqa: PTH116
        if not folder:
            self.device = info.st_dev
        identity = (info.st_dev, info.st_ino)
        if identity in self._entered:
            return None
        self._entered.add(identity)
        if self._add_watch is not None:
            number = self._add_watch(path)
            if number is not None:
                self.watches[number] = folder
        return list_folder(self._place, folder)

    def _keep(self, folder: str) -> None:
        for name, listing in self._earlier.items():
            if name == folder or name.startswith(folder + "/"):
                self.listings.setdefault(name, listing)


def differences(
    listings: Mapping[str, Listing], stamps: Mapping[str, Stamp | None], forced: frozenset[str]
) -> tuple[list[str], list[str]]:
    """Return the files to read (new, with another stamp, or *forced*) and those that are gone.

    *stamps* are of what was read before; None asks to read it again.
    """
    read: list[str] = []
    for folder, listing in listings.items():
        for name, stamp in listing.files.items():
            path = join(folder, name)
            if stamp != stamps.get(path) or path in forced:
                read.append(path)
    return sorted(read), sorted(path for path in stamps if listed(listings, path) is None)


def listed(listings: Mapping[str, Listing], path: str) -> Stamp | None:
    """Return the stamp that *listings* have of the file *path*; None where they don't name it."""
    folder, _, name = path.rpartition("/")
    listing = listings.get(folder)
    return None if listing is None else listing.files.get(name)
