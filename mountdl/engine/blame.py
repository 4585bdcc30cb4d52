"""Who brought wrong bytes: known at once where one source brought all of a chunk, else when it came right.

It knows what the store has, not what is to be done about it.
"""

import hashlib
import logging

import trio

from mountdl.engine.flight import SourceState
from mountdl.engine.incidents import Incidents
from mountdl.engine.roster import Roster
from mountdl.errors import StoreError
from mountdl.extents import Extent, ExtentSet
from mountdl.store.stored import Stored

log = logging.getLogger(__name__)


class Blame:
    """Verdicts over the sources of *roster*, told to *incidents*."""

    def __init__(self, stored: Stored, roster: Roster, incidents: Incidents) -> None:
        self._stored, self._roster, self._incidents = stored, roster, incidents

    def acquit(self, index: int, extent: Extent) -> None:
        """Take in that chunk *index*, *extent*, is right: whoever once brought it otherwise is blamed."""
        for state, part, digest in self._roster.suspicions(index, extent):
            if self._sum(part) != digest:
                self._blame(state, index, extent)

    def convict(self, index: int, extent: Extent) -> None:
        """Take in that chunk *index*, *extent*, is wrong as it lies in the store."""
        parts = self._roster.contributors(extent)
        guilty = {state for state, _ in parts}
        if not ExtentSet(part for _, part in parts).covers(extent):
            # Some of it is of an earlier run, whose sources nobody knows: who brought the rest need not have lied.
            self._incidents.add(None, f"chunk {index} in the store was not sound; it is fetched again", extent)
        elif len(guilty) == 1:
            self._blame(parts[0][0], index, extent)
        else:
            digests = [(state, part, self._sum(part)) for state, part in parts]
            self._roster.accuse(index, digests, extent)
            names = ", ".join(sorted(state.source.name for state in guilty))
            self._incidents.add(None, f"chunk {index} is wrong; one of these sent wrong bytes: {names}", extent)

    def _sum(self, extent: Extent) -> bytes:
        """Return what tells the bytes of *extent* from others; empty when the store can't give them back."""
        try:
            return hashlib.sha256(self._stored.read(extent)).digest()
        except StoreError:
            return b""

    def _blame(self, state: SourceState, index: int, extent: Extent) -> None:
        reason = f"sent wrong bytes for chunk {index}"
        log.warning("%s %s (bytes %s)", state.source.name, reason, extent)
        state.score.blamed(extent, trio.current_time(), reason)
        self._incidents.add(state.source.name, reason, extent)
