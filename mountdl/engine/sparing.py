"""What a download needs of the store's bytes, and what it makes of evictions.

Law: what was evicted is not held any more, so that it is fetched when it is wanted; but not in the background, nor
ahead of a reader before he goes on, which would evict what was fetched a moment ago. Bytes that a reader waits for, and
chunks that are being judged, are locked.
"""

from mountdl.engine.background import Background
from mountdl.engine.demand import Demand
from mountdl.engine.incidents import Incidents
from mountdl.engine.settling import Settling
from mountdl.engine.windows import Windows
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.store.quota import Spared
from mountdl.store.stored import Stored


class Sparing:
    """Stands between one download and its part of the store. *background*: what it wants when nobody waits."""

    def __init__(
        self, demand: Demand, background: Background, windows: Windows, settling: Settling, chunk_map: ChunkMap
    ) -> None:
        self._demand, self._background, self._windows = demand, background, windows
        self._settling, self._chunk_map = settling, chunk_map

    def attach(self, stored: Stored, incidents: Incidents) -> None:
        """Hear of evictions from *stored*, and be asked about them; *incidents* hears if there is hardly room."""
        if stored.cramped is not None:
            incidents.add(None, stored.cramped)
        stored.follow_evictions(self.evicted)
        stored.spare(self.spared)
        stored.overflow.begun = lambda why: incidents.add(None, f"what readers wait for goes by way of memory: {why}")
        self._settling.fresh.ahead = self._windows.ahead
        stored.overflow.forgotten = self._settling.evicted  # there is room for it another time

    def evicted(self, extent: Extent) -> None:
        """Take in that *extent* is gone."""
        self._settling.evicted(extent)
        self._background.withdraw(extent)
        self._windows.evicted(extent)

    def spared(self) -> Spared:
        """Return what had better stay."""
        wants = list(self._demand)
        awaited = tuple(want.extent for want in wants if want.priority is Priority.READ)
        awaited += tuple(self._settling.fresh.begun)  # whose readers come back for the rest in a moment
        locked = list(awaited)
        locked += [self._chunk_map.extent(index) for index in self._settling.verifier.pending]
        ahead = tuple(want.extent for want in wants if want.priority is Priority.READAHEAD)
        return Spared(tuple(locked), ahead, used=True, awaited=awaited)
