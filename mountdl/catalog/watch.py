"""Keep the tree in step with the descriptors of a source.

Law: what is shown follows evidence. A file that is gone from a folder that could be listed is gone; a
source or folder that can't be reached changes nothing until it is back. Every tree comes out of one
task, one after the other.

The kernel's reports say where to look, never what is there: after each the folder is listed and the
changed files are read, in worker threads and small steps. A pass over everything comes with lost
reports, with each new folder, and as a safety net for file systems that don't report.
"""

import errno
import gc
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from mountdl.catalog.build import Built, SizeKey, build
from mountdl.catalog.changes import Changes, Gatherer
from mountdl.catalog.document import Document
from mountdl.catalog.inotify import Adder, Inotify
from mountdl.catalog.kept import Shelf
from mountdl.catalog.place import find_place
from mountdl.catalog.reading import Known, Parse, judge, read
from mountdl.catalog.refresh import Refresher, Reload
from mountdl.catalog.scan import Listing, Place, Stamp, Walk, differences, list_folder, listed
from mountdl.catalog.sizes import Gauge, Memory, Resolve, Sizes
from mountdl.catalog.tree import Expected, Inodes, Note, empty
from mountdl.descriptors.learned import Learned, Pending, awaited
from mountdl.descriptors.model import Caution, Descriptor
from mountdl.errors import StoreError

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_STEP = 0.05
"""Seconds of work in a thread before the loop has a say: it can be cancelled that often."""
SETTLE = 1.4
"""Seconds: with looking and parsing, the `.error` of a descriptor that is no good shows within the promised 2 s."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How to watch; times in seconds.

    *suffixes* with their dot, lower case; *excluded* are folders never to enter (the mount's own).
    *quiet* without a report and at most *longest* pass before a change is looked at. A descriptor that
    is no good and changed less than *settle* ago is still being written. *poll* is the rhythm where
    the kernel does not report, *net* that of the full pass where it does. *reports* False: don't ask it.
    """

    suffixes: frozenset[str] = frozenset({".meta4", ".metalink"})
    excluded: tuple[Path, ...] = ()
    quiet: float = 0.15
    longest: float = 0.5
    settle: float = SETTLE
    poll: float = 1.0
    net: float = 60.0
    reports: bool = True


@dataclass(frozen=True, slots=True)
class Helpers:
    """*memory* keeps over mounts what was learned; *reload* asks the origins of dynamic descriptors.

    *shelf* takes what they say of files that nobody has opened, *gauge* fetches what no server tells the length of.
    """

    memory: Memory | None = None
    reload: Reload | None = None
    shelf: Shelf | None = None
    gauge: Gauge | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Where the watch stands.

    *reachable* is False while the source can't be listed and the last tree stays; *error* says why, or which folder
    can't be. *mode* is "reports" or "polling". Of what is asked, *unreached* is what nobody answers for at all.
    """

    descriptors: int = 0
    refused: int = 0
    unresolved: int = 0
    unreached: int = 0
    scanning: bool = False
    reachable: bool = True
    mode: str = "reports"
    error: str | None = None
    cautions: tuple[Caution, ...] = ()


class Watch:
    """Watches *source*, a folder or one descriptor, and hands each new tree to *publish*.

    *parse* makes a descriptor of a name and bytes; *resolve* asks for a size that no descriptor gives,
    *helpers* are those that it can do without. *parse* and memories run in worker threads, the others on the loop.
    """

    def __init__(
        self,
        source: Path,
        *,
        parse: Parse,
        resolve: Resolve,
        publish: Callable[[Built], None],
        settings: WatchSettings | None = None,
        helpers: Helpers | None = None,
    ) -> None:
        self._source = source
        self._parse, self._publish = parse, publish
        self._settings = settings or WatchSettings()
        self._place = Place(str(source))
        self._gatherer = Gatherer(self._place)
        helpers = helpers or Helpers()
        self._shelf = helpers.shelf
        self._sizes = Sizes(resolve, self._rebuild_soon, helpers.memory, helpers.gauge)
        self._refresher = None if helpers.reload is None else Refresher(helpers.reload, self._rebuild_soon)
        self._inodes = Inodes()
        self._inotify: Inotify | None = None
        self._watches: dict[int, str] = {}
        self._listings: dict[str, Listing] = {}
        self._known: dict[str, Known] = {}
        self._due: dict[str, float] = {}
        self._device: int | None = None
        self._next_pass = math.inf
        self._next_rebuild = math.inf
        self._build_time = 0.0
        self._alarm: trio.CancelScope | None = None
        self._thread = trio.CapacityLimiter(1)
        self._statistics = Statistics()
        self.built = Built(empty())
        """What was published last."""
        self.first_scan = trio.Event()
        """Set once the first tree is published."""

    def statistics(self) -> Statistics:
        """Return where the watch stands."""
        return self._statistics

    async def named(self) -> None:
        """Return once no mirror is still to say for the first time how long a file is: it has its name then."""
        while any(  # noqa: ASYNC110  # trees are published, not events
            isinstance(node, Note) and node.expected is Expected.SERVERS for node in self.built.tree.nodes()
        ):
            await trio.sleep(_STEP)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; started once the first tree is published.

        Raises UsageError when the source is none or can't be read at the start.
        """
        settings = self._settings
        find = partial(find_place, self._source, settings.suffixes, settings.excluded, self._parse)
        self._place = await self._in_thread(find)
        self._gatherer = Gatherer(self._place)
        self._open_reports()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._sizes.run)
                if self._refresher is not None:
                    nursery.start_soon(self._refresher.run)
                await self._refresh(Changes(everything=True, rebuild=True))
                self.first_scan.set()
                task_status.started()
                if self._inotify is not None:
                    nursery.start_soon(self._listen, self._inotify)
                while True:
                    await self._refresh(await self._changes())
        finally:
            self._inotify = None

    # When to look

    def _open_reports(self) -> None:
        # One file is asked for its stamp instead: its folder may be a busy one that is none of our business.
        if self._settings.reports and self._place.only is None:
            try:
                self._inotify = Inotify()
            except OSError as error:
                self._poll(error)
        if self._inotify is None:
            self._note(mode="polling")

    def _poll(self, error: OSError) -> None:
        """Go on without reports."""
        log.warning("%s is watched by looking at it each %g s: %s", self._source, self._settings.poll, error.strerror)
        self._note(mode="polling")

    async def _listen(self, inotify: Inotify) -> None:
        while True:
            await trio.lowlevel.wait_readable(inotify.fileno())
            for event in inotify.read():
                self._gatherer.event(event, self._watches)
            # Who writes a large file in small parts makes thousands of reports a second: take them in lots.
            await trio.sleep(0.05)

    async def _changes(self) -> Changes:
        """Wait for something to look at."""
        deadline = min(self._next_pass, self._next_rebuild, *self._due.values())
        with trio.move_on_at(deadline) as self._alarm:
            await self._gatherer.wait()
            await self._gatherer.settle(self._settings.quiet, self._settings.longest)
        self._alarm = None
        now = trio.current_time()
        for path in [path for path, due in self._due.items() if due <= now]:
            del self._due[path]
            self._gatherer.file(path)
        if now >= self._next_pass:
            self._gatherer.everything()
        rebuild = now >= self._next_rebuild
        return replace(self._gatherer.take(), rebuild=rebuild)

    def _rebuild_soon(self) -> None:
        # Sizes may be learned one by one for hours: building takes at most a fifth of the time.
        self._next_rebuild = min(self._next_rebuild, trio.current_time() + max(_STEP, 4 * self._build_time))
        if self._alarm is not None:
            self._alarm.deadline = min(self._alarm.deadline, self._next_rebuild)

    # Looking

    async def _refresh(self, changes: Changes) -> None:
        """Look at what *changes* name, read what is new, and publish if that shows."""
        self._note(scanning=True)
        try:
            await self._look(changes)
        except OSError as error:
            self._lose(error)
            shows = changes.rebuild
        else:
            self._find()
            shows = await self._read(changes.files) or changes.rebuild
        if shows:
            await self._rebuild()
        self._note(scanning=False)

    async def _look(self, changes: Changes) -> None:
        folders = changes.folders & self._listings.keys()
        if not changes.everything and self._statistics.reachable and folders == changes.folders:
            fresh = await self._in_thread(partial(_list_all, self._place, folders))
            if fresh is not None and all(_same_below(self._listings[name], fresh[name]) for name in fresh):
                self._listings.update(fresh)
                return
        await self._look_at_all()

    async def _look_at_all(self) -> None:
        inotify = self._inotify if self._statistics.mode == "reports" else None
        adder = None if inotify is None else Adder(inotify)
        walk = Walk(self._place, self._listings, adder)
        while not await self._in_thread(partial(walk.step, _STEP)):
            pass
        if self._is_another(walk):
            raise OSError(errno.ENODEV, "another, empty file system is in its place")
        self._listings, self._device = walk.listings, walk.device
        if adder is not None and inotify is not None:
            if adder.problem is not None:
                self._poll(adder.problem)
            for watch in self._watches.keys() - walk.watches.keys():
                inotify.remove(watch)
            self._watches = walk.watches
        self._next_pass = trio.current_time() + self._rhythm()
        self._note(error=walk.problem)

    def _is_another(self, walk: Walk) -> bool:
        """Say whether the source's file system went away and left an empty mount point."""
        moved = self._device is not None and walk.device != self._device
        return moved and walk.listings == {"": Listing()} and bool(self._known)

    def _rhythm(self) -> float:
        return self._settings.poll if self._statistics.mode == "polling" else self._settings.net

    def _lose(self, error: OSError) -> None:
        if self._statistics.reachable:
            log.warning("%s can't be reached, its files stay as they were: %s", self._source, error.strerror)
        self._note(reachable=False, error=f"the source can't be reached: {error.strerror}")
        self._next_pass = trio.current_time() + self._settings.poll

    def _find(self) -> None:
        if not self._statistics.reachable:
            log.info("%s is back", self._source)
            self._note(reachable=True)

    # Reading

    async def _read(self, forced: frozenset[str]) -> bool:
        """Read what is new or *forced*; return whether that changes what is shown."""
        stamps = {path: known.stamp for path, known in self._known.items()}
        paths, gone = await self._in_thread(partial(differences, self._listings, stamps, forced))
        shows = False
        for path in gone:
            shows |= self._known.pop(path).document is not None
            self._due.pop(path, None)
        while paths:
            done = await self._in_thread(partial(self._read_some, paths))
            for path, known in zip(paths, done, strict=False):
                shows |= self._learn(path, replace(known, stamp=self._listed(path, known.stamp)))
            del paths[: len(done)]
        return shows

    def _read_some(self, paths: Sequence[str]) -> list[Known]:
        """Read the first of *paths*, as many as one step allows. Runs in a thread; changes nothing."""
        deadline = time.monotonic() + _STEP
        done: list[Known] = []
        for path in paths:
            reading = read(self._place.path(path), path, self._parse, self._shelf)
            done.append(judge(self._known.get(path), reading, time.time(), self._settings.settle))
            if time.monotonic() > deadline:
                break
        return done

    def _listed(self, path: str, stamp: Stamp | None) -> Stamp | None:
        """Return *stamp*, or the same one that the listing of its folder holds: one is enough in memory."""
        there = listed(self._listings, path)
        return there if there == stamp else stamp

    def _learn(self, path: str, known: Known) -> bool:
        earlier = self._known.get(path)
        self._known[path] = known
        self._due.pop(path, None)
        if known.again is not None:
            self._due[path] = trio.current_time() + known.again
        if known.refused and known.document is not None and (earlier is None or not earlier.refused):
            log.warning("%s can't be used: %s", path, known.document.said)
        return (None if earlier is None else earlier.document) is not known.document

    # Showing

    async def _rebuild(self) -> None:
        documents = [known.document for known in self._known.values() if known.document is not None]
        if self._refresher is not None:
            self._refresher.follow({each.path: each for each in documents if isinstance(each.said, Descriptor)})
            documents = [self._refresher.shown(document) for document in documents]
        sizes = dict(self._sizes.known)
        make = partial(_build, documents, self._inodes, sizes, dict(self._sizes.pending))
        self._next_rebuild, start = math.inf, trio.current_time()
        try:
            # Not given up when cancelled: the inodes must not be in two hands.
            built = await trio.to_thread.run_sync(make, limiter=self._thread)
        except Exception as error:
            if not self.first_scan.is_set():
                raise
            if isinstance(error, StoreError):
                log.warning("the tree stays as it was: %s", error)
            else:
                log.exception("building the tree failed in a way that is a bug of mountdl; the last one stays")
            self._note(error="building the tree failed, the last one stays")
            return
        self._build_time = trio.current_time() - start
        self._sizes.ask_for(built.unresolved, built.learned)
        self.built = built
        self._note(
            descriptors=len(documents),
            refused=sum(known.refused for known in self._known.values()),
            unresolved=sum(awaited(entries[0]) and key not in sizes for key, entries in built.unresolved.items()),
            unreached=self._sizes.unreached,
            cautions=built.cautions,
        )
        self._publish(built)

    def _note(self, **changes: object) -> None:
        self._statistics = replace(self._statistics, **changes)  # type: ignore[arg-type]  # names of its own fields

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        # Given up when cancelled: a file system that hangs must not keep the mount from ending.
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._thread)


def _build(
    documents: Sequence[Document], inodes: Inodes, sizes: Mapping[SizeKey, Learned], pending: Mapping[SizeKey, Pending]
) -> Built:
    # Building makes no circular garbage, but so many objects that the collector would run over all there are
    # several times, and while it runs nothing else does: the loop stood still for 0.1 s at 10,000 descriptors.
    pause = gc.isenabled()
    gc.disable()
    try:
        return build(documents, inodes, sizes, pending=pending, mtime_ns=time.time_ns())
    finally:
        if pause:
            gc.enable()


def _list_all(place: Place, folders: frozenset[str]) -> dict[str, Listing] | None:
    """List *folders*; None when one of them can't be, so that a walk finds out what that means."""
    try:
        return {folder: list_folder(place, folder) for folder in folders}
    except OSError:
        return None


def _same_below(one: Listing, other: Listing) -> bool:
    return (one.folders, one.links) == (other.folders, other.links)
