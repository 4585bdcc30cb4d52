"""What has to be looked at again, gathered from many small reports.

Law: nothing that is reported between two `take`s is lost. Synchronous; used on the loop only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from mountdl.catalog import inotify
from mountdl.catalog.inotify import Event
from mountdl.catalog.scan import Place, join

_ABOUT_NAMES = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
_ABOUT_ITSELF = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT | inotify.QUEUE_OVERFLOW


@dataclass(frozen=True, slots=True)
class Changes:
    """What to look at: *everything*, or *folders*; *files* are read whatever their stamp says.

    *rebuild* asks for a new tree although no file changed.
    """

    everything: bool = False
    folders: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    rebuild: bool = False


class Gatherer:
    """Gathers changes and wakes who waits for them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._everything = False
        self._folders: set[str] = set()
        self._files: set[str] = set()
        self._wake = trio.Event()

    def everything(self) -> None:
        """Ask for a look at the whole source."""
        self._everything = True
        self._wake.set()

    def file(self, path: str) -> None:
        """Ask for a fresh reading of the file at *path*."""
        self._files.add(path)
        self._folders.add(path.rpartition("/")[0])
        self._wake.set()

    def folder(self, folder: str) -> None:
        """Ask for a look at what *folder* holds."""
        self._folders.add(folder)
        self._wake.set()

    def event(self, event: Event, watches: Mapping[int, str]) -> None:
        """Take a report of the kernel in; *watches* are the folders of its watches."""
        if event.mask & inotify.IGNORED or event.name.startswith("."):
            return
        folder = watches.get(event.watch)
        about_folder = event.mask & inotify.IS_FOLDER or not event.name
        # A watch that is not known yet was added by a walk that is under way, or has just been dropped.
        if folder is None or about_folder or event.mask & _ABOUT_ITSELF:
            self.everything()
        elif self._place.wants(event.name):
            self.file(join(folder, event.name))
        elif event.mask & _ABOUT_NAMES:
            self.folder(folder)

    async def wait(self) -> None:
        """Return once there is something."""
        await self._wake.wait()

    async def settle(self, quiet: float, longest: float) -> None:
        """Return after *quiet* seconds without a report, or after *longest* in any case."""
        with trio.move_on_after(longest):
            while self._wake.is_set():
                self._wake = trio.Event()
                with trio.move_on_after(quiet):
                    await self._wake.wait()

    def take(self) -> Changes:
        """Return what was gathered, and start anew."""
        taken = Changes(self._everything, frozenset(self._folders), frozenset(self._files))
        self._everything = False
        self._folders, self._files = set(), set()
        self._wake = trio.Event()
        return taken
