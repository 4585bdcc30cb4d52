"""That somebody else writes the data file of a content for a time: a swarm, which fetches into it.

Law: while it is given nobody but the borrower writes there, and before anything goes he is told.
"""

from collections.abc import Callable
from contextlib import suppress

import trio

from mountdl.errors import StoreError
from mountdl.extents import Extent, ExtentSet
from mountdl.store.datafile import DataFile
from mountdl.store.ledger import Ledger
from mountdl.store.room import Room


class Loan:
    """Whether *data* is lent: *given* from `begin` to `end`."""

    def __init__(self, data: DataFile, room: Room, ledger: Ledger) -> None:
        self.given = False
        self._data, self._room, self._ledger = data, room, ledger
        self._recalled: Callable[[], None] | None = None
        self._over = trio.Event()

    def possible(self, there: ExtentSet) -> bool:
        """Say whether it can begin: not while another has it or a thread writes, nor without room for what lacks.

        *there* is what the data file holds.
        """
        if self.given or self._data.frozen or not self._data.quiet:
            return False
        return self._room.holds(self._data.size - there.total, self._data.free)

    def begin(self, there: ExtentSet, recalled: Callable[[], None]) -> None:
        """Lend it to whom *recalled* tells that he must give it back; *there* stays. StoreError when the disk fails."""
        everything = Extent(0, self._data.size)
        self._ledger.settle(everything)
        self._data.relinquish(everything, there)
        self.given, self._recalled, self._over = True, recalled, trio.Event()

    def recall(self) -> None:
        """Tell the borrower, once: he writes no more as soon as he can, and `end` follows."""
        recalled, self._recalled = self._recalled, None
        if recalled is not None:
            recalled()

    async def over(self) -> None:
        """Return once nobody has it. No checkpoint where nobody does."""
        while self.given:
            await self._over.wait()

    def end(self, there: ExtentSet) -> None:
        """Take in that he writes no more; blocks that he left, of what is not *there*, are given back to the disk."""
        if not self.given:
            return
        self.given, self._recalled = False, None
        self._over.set()
        allocated = self._data.allocated() if self._data.blocks else None  # none once it is closed
        with suppress(StoreError):
            for extent in allocated if allocated is not None else ():
                for gap in list(there.missing(extent)):
                    self._data.vacate(gap, there)
