"""Readers who wait for bytes, and how each wait ends. Knows no flight and no source."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import trio

from mountdl.engine.demand import Want
from mountdl.errors import MountdlError
from mountdl.extents import Extent
from mountdl.sources.base import TURN


@dataclass(eq=False, slots=True)
class Waiter:
    """A reader who has waited for *extent*, by *want*, without any progress since *since*.

    *error* is why it will not come.
    """

    extent: Extent
    want: Want
    since: float
    event: trio.Event
    error: MountdlError | None = None

    async def answered(self, readable: Callable[[Extent], bool], again: Callable[[], None]) -> None:
        """Return once its extent is readable or there is an error.

        Between its wake-up and its turn bytes may be evicted or discarded; then it calls *again* and waits anew.
        """
        await self.event.wait()
        while self.error is None and not readable(self.extent):
            self.event = trio.Event()
            again()
            await self.event.wait()

    def fail(self, error: MountdlError, readable: Callable[[Extent], bool]) -> bool:
        """End the wait with *error*, unless it is over already; say whether it was not.

        Who was woken and can't read any more waits still.
        """
        if self.event.is_set() and (self.error is not None or readable(self.extent)):
            return False
        self.error = error
        self.event.set()
        return True


class Waiters:
    """All who wait for bytes of one content."""

    def __init__(self) -> None:
        self._waiting: set[Waiter] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(tuple(self._waiting))

    @property
    def turn(self) -> float:
        """`TURN` while one may go on and did not yet: to receive first what is there already takes 0.3 ms. Else 0."""
        return TURN if any(waiter.event.is_set() for waiter in self._waiting) else 0.0

    def add(self, extent: Extent, want: Want, now: float) -> Waiter:
        """Return a new waiter for *extent*."""
        waiter = Waiter(extent, want, now, trio.Event())
        self._waiting.add(waiter)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Forget *waiter*."""
        self._waiting.discard(waiter)

    def await_any(self, extent: Extent) -> bool:
        """Say whether somebody waits for a byte of *extent*."""
        return any(waiter.extent.overlaps(extent) for waiter in self._waiting)

    def progress(self, extent: Extent, now: float) -> None:
        """Take in that bytes of *extent* arrived: who waits for some of them waits anew."""
        for waiter in self._waiting:
            if waiter.extent.overlaps(extent):
                waiter.since = now

    def wake(self, readable: Callable[[Extent], bool]) -> None:
        """Let those go on whose extent is readable."""
        for waiter in self._waiting:
            if not waiter.event.is_set() and readable(waiter.extent):
                waiter.event.set()
