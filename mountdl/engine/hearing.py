"""What joined sources tell of one content between fetches, and what they ask."""

from collections.abc import Callable, Iterable

from mountdl.engine.flight import SourceState
from mountdl.engine.incidents import Incidents
from mountdl.engine.roster import Roster
from mountdl.engine.settling import Settling
from mountdl.extents import Extent
from mountdl.store.stored import Stored

CROWDED = 16 << 20
"""Bytes that are made free where a source found the disk full: it goes on by pieces, of which some are on their way."""


class Hearing:
    """An `Audience`: *incidents* keeps remarks, *poke* has it planned anew, *filed* takes in what a source put away.

    *roster* tells whether the source is the only one, *settling* whether all that is here is judged.
    """

    def __init__(
        self,
        stored: Stored,
        settling: Settling,
        roster: Roster,
        incidents: Incidents,
        poke: Callable[[], None],
        filed: Callable[[SourceState | None, Extent], None],
    ) -> None:
        self._stored, self._settling, self._roster, self._incidents = stored, settling, roster, incidents
        self.poke, self._filed = poke, filed

    def remark(self, source: str, what: str) -> None:
        """Keep for the user that *source* saw *what*."""
        self._incidents.add(source, what)

    def lends(self) -> bool:
        """See `Audience`."""
        if len(self._roster.states) > 1 or self._stored.overflow or not self._settling.settled():
            return False
        return self._stored.loan.possible(self._stored.there)

    def lend(self, loose: Iterable[Extent], recalled: Callable[[], None]) -> bool:
        """See `Audience`. Raises StoreError."""
        if not self.lends():
            return False
        for extent in loose:
            self._stored.evict(extent)
        self._stored.loan.begin(self._stored.there, recalled)
        return True

    def crowded(self) -> None:
        """See `Audience`."""
        self._stored.room.full(CROWDED)

    def brought(self, source: str, extent: Extent) -> None:
        """See `Audience`."""
        state = self._roster.named(source)
        if state is not None:
            state.delivered(extent.length)
        self._filed(state, extent)

    async def own(self) -> None:
        """See `Audience`."""
        await self._stored.loan.over()

    def returned(self) -> None:
        """See `Audience`."""
        self._stored.loan.end(self._stored.there)
