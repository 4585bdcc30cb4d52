"""Judge the ends of a file that share pieces with other files, by fetching the others' part.

Law: what can be judged is, before it is read. Where the others' bytes can't be had, an end is excused: it is
served as it was written, for nothing contradicts it. Bytes of others are held in memory while they are used and
never stored. Knows no flights and no wants.
"""

from collections.abc import Awaitable, Callable

import trio

from mountdl.content import Border, Content
from mountdl.descriptors.model import Neighbour
from mountdl.engine.verifier import in_thread
from mountdl.errors import SourceError, StoreError
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import hasher
from mountdl.store.stored import Stored

PATIENCE = 15.0
"""Seconds for the others' part of a piece, from one set of their mirrors."""
MOST_TRIES = 3
"""Sets of mirrors that are asked for it, while what comes does not match."""

Fetch = Callable[[str, Neighbour], Awaitable[bytes]]
"""Fetch from a URL the part of a neighbour that is meant. Raises SourceError."""


class Borders:
    """The ends of *content*; *judged* gets each and whether it is right, None where that can't be found out."""

    def __init__(
        self, content: Content, stored: Stored, fetch: Fetch, judged: Callable[[Border, bool | None], None]
    ) -> None:
        self._stored, self._fetch, self._judged = stored, fetch, judged
        self._borders = content.borders
        self._excused = ExtentSet()
        self._queue: list[Border] = []
        self._lost = False  # some of the first in the queue
        self._alarm = trio.Event()

    def readable(self, extent: Extent) -> bool:
        """Say whether no end in *extent* waits for its verdict."""
        return not any(border.own.overlaps(extent) and not self._settled(border.own) for border in self._borders)

    def _settled(self, own: Extent) -> bool:
        return self._stored.verified.covers(own) or self._excused.covers(own)

    def look(self) -> None:
        """Have those judged that are here and were not yet."""
        for border in self._borders:
            if border not in self._queue and self._stored.written.covers(border.own) and not self._settled(border.own):
                self._queue.append(border)
                self._alarm.set()

    def forget(self, extent: Extent) -> None:
        """Take in that *extent* was wrong and is not here any more."""
        self._excused.remove(extent)
        self.lost(extent)

    def lost(self, extent: Extent) -> None:
        """Take in that *extent* is not here any more: a verdict over a hole, or what came next, is none."""
        self._lost |= bool(self._queue) and self._queue[0].own.overlaps(extent)

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            while self._queue:
                border, self._lost = self._queue[0], False
                good = await self._find_out(border)
                self._queue.pop(0)
                if self._lost:
                    self.look()
                    continue
                if good is None and self._stored.written.covers(border.own):
                    self._excused.add(border.own)
                self._judged(border, good)
            self._alarm = trio.Event()
            await self._alarm.wait()

    async def _find_out(self, border: Border) -> bool | None:
        neighbours = (*border.before, *border.after)
        tries = min(MOST_TRIES, max((len(each.urls) for each in neighbours), default=1) or 1)
        good: bool | None = None
        for number in range(tries):
            try:
                with trio.fail_after(PATIENCE):
                    before = [await self._part(each, number) for each in border.before]
                    after = [await self._part(each, number) for each in border.after]
            except (SourceError, trio.TooSlowError):
                continue
            good = await in_thread(self._matches, border, before, after)
            if good:
                return True
        return good

    async def _part(self, neighbour: Neighbour, number: int) -> bytes:
        if not neighbour.urls:
            return bytes(neighbour.extent.length)
        return await self._fetch(neighbour.urls[number % len(neighbour.urls)], neighbour)

    def _matches(self, border: Border, before: list[bytes], after: list[bytes]) -> bool:
        """Hash the piece. In a thread: touches nothing but the data file."""
        check = hasher(border.digest.algorithm)
        for part in before:
            check.update(part)
        try:
            self._stored.hash_extent(border.own, check)
        except (StoreError, OSError):
            return False
        for part in after:
            check.update(part)
        return check.digest() == border.digest.value
