"""Take bytes in, judge them, and find out who lied.

Law: what a digest of a chunk can tell (`ChunkMap.sure`) is readable once it told, the rest once written.
`held` is what need not be fetched: written, or left in doubt by an earlier run and complete
enough to be hashed. A chunk that is complete goes to the verifier; its verdict marks it verified or
discards it and blames who brought it. The first to bring a byte owns it: nothing overwrites what is
held. A chunk that one flight brings whole is held in memory until it is judged, and written if it is good.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from mountdl.content import Border, Content, Level
from mountdl.engine.assembly import MEMORY, Assemblies, Assembly, quick
from mountdl.engine.blame import Blame
from mountdl.engine.borders import Borders
from mountdl.engine.flight import Flight, SourceState
from mountdl.engine.fresh import Fresh
from mountdl.engine.incidents import Incidents
from mountdl.engine.inheritance import inherit, outside
from mountdl.engine.roster import Roster
from mountdl.engine.verifier import Verdict, Verifier, match_whole
from mountdl.errors import StoreError, StoreFull
from mountdl.extents import Extent, ExtentSet
from mountdl.store.stored import Stored
from mountdl.weak import weakly

log = logging.getLogger(__name__)

VERIFIERS = 4
"""Threads that hash one content and write what is good: two are enough to hash, and often wait for the disk."""
EXAMINED = 32
"""Chunks in doubt that are hashed at a time for no reader."""


class Settling:
    """What is here of one content, and what it is worth.

    *verdict* is called after each judgement with whether it was good, *store_failed* when the store
    could not take one in.
    """

    def __init__(
        self,
        content: Content,
        stored: Stored,
        roster: Roster,
        incidents: Incidents,
        verdict: Callable[[bool], None],
        store_failed: Callable[[StoreError], None],
    ) -> None:
        self.content, self.stored = content, stored
        self.level, self._chunk_map = content.level, content.chunk_map
        self._sure = content.chunk_map.sure
        self._roster, self._incidents, self._verdict = roster, incidents, verdict
        self._store_failed = store_failed
        self._blame = Blame(stored, roster, incidents)
        self._assemblies = Assemblies(content.chunk_map, MEMORY)
        self.fresh = Fresh(content.chunk_map, MEMORY)
        self.verifier = Verifier(content.chunk_map, stored, weakly(self._judged))
        self.hear = self.verifier.deliver
        self.borders: Borders | None = None
        self.whole_due = self._misled = False
        self.doubt = inherit(content, stored)
        self.held = stored.written.copy()
        for extent in self.doubt:
            self.held.add(extent)
        self._note_whole()

    def judges(self) -> list[Callable[[], Awaitable[None]]]:
        """Return what has to run for verdicts to come."""
        found: list[Callable[[], Awaitable[None]]] = [self.verifier.hear, *[self.verifier.run] * VERIFIERS]
        if self.borders is not None:
            found.append(self.borders.run)
        return found

    def readable(self, extent: Extent) -> bool:
        """Say whether a read may return *extent*: verified where chunks have digests, else written."""
        if self.level is Level.CHUNK:
            return self.stored.verified.covers(extent)
        if not self.stored.written.covers(extent) or (self.borders is not None and not self.borders.readable(extent)):
            return False
        return self.stored.verified.covers(extent.intersection(self._sure))

    def fulfils(self, extent: Extent) -> bool:
        """Say whether who wants *extent* needs nothing more: it is readable, and no verdict may yet take it back."""
        return not self.whole_due and self.readable(extent)

    def at_hand(self, extent: Extent) -> bool:
        """Say whether a read may return *extent* now: it is readable, or was found good and waits for the disk only."""
        return self.readable(extent) or self.fresh.shows(extent)

    def glance(self, extent: Extent) -> bytes | memoryview | None:
        """Return the bytes of *extent*, which is at hand, if no disk must be waited for; else None.

        A view is good until the caller's next checkpoint. Raises StoreDamaged, StoreError.
        """
        self.stored.uses.touch(extent.start)
        found = self.fresh.read(extent)
        if found is None:
            found = self.stored.reading.glance(extent)
            if found is not None and self.stored.loan.given:
                self.stored.trail.follow(extent)
        return found

    @property
    def busy(self) -> bool:
        """Whether a verdict is still to come."""
        return bool(self.verifier.pending) or self.whole_due

    @property
    def complete(self) -> bool:
        """Whether all of it is here and judged as far as it can be."""
        if self.level is Level.NONE:
            return self.readable(Extent(0, self.content.size))
        return self.stored.verified.total == self.content.size

    # -- bytes come in --------------------------------------------------------------------------------------

    def expect(self) -> None:
        """Prepare for what a reader waits for and is about to come."""
        if self.level is Level.CHUNK and not self.stored.loan.given:
            self._assemblies.prepare()

    def room(self, flight: Flight, offset: int) -> memoryview | None:
        """Return where *flight* had best receive what comes from *offset* on, or None."""
        if self.level is not Level.CHUNK or self.stored.loan.given:
            return None
        return self._assemblies.room(flight.number, Extent(offset, flight.extent.stop), self.held)

    def take(self, flight: Flight, offset: int, data: memoryview, *, urgent: bool) -> None:
        """Take in *data*, brought by *flight*, from *offset* on, and have complete chunks judged.

        Raises StoreError; what was written before it stays. While the data file is lent nothing can be taken in: it is
        fetched again.
        """
        if self.stored.loan.given:
            return
        assembly = self._assemblies.expecting(flight.number, offset)
        if assembly is not None:
            if urgent and flight.delivered == len(data) and not self.verifier.pending and quick(self._chunk_map):
                assembly.check = self._chunk_map.check(assembly.index)
            length = assembly.put(data)
            self._count(flight.state, Extent(offset, offset + length))
            if assembly.whole:
                self._assembled(assembly, urgent=urgent)
            offset, data = offset + length, data[length:]
        if data:
            self._write(flight.state, offset, data, urgent=urgent)

    def _assembled(self, assembly: Assembly, *, urgent: bool) -> None:
        self._assemblies.finish(assembly)
        index, data, good = assembly.index, assembly.view, assembly.good
        self.verifier.submit(index, urgent=urgent, data=data, kept=self.fresh.promise(index), good=good)
        if good:
            self.fresh.show(index, data)

    def _write(self, state: SourceState, offset: int, data: memoryview, *, urgent: bool) -> None:
        extent = Extent(offset, offset + len(data))
        for other in self._assemblies.touching(extent):
            self._flush(other)  # a chunk is in memory or in the store, never half and half
        for gap in list(self.held.missing(extent)):
            self.stored.write(gap.start, data[gap.start - offset : gap.stop - offset])
            self._count(state, gap)
        self._filed(extent, urgent=urgent)

    def _filed(self, extent: Extent, *, urgent: bool) -> None:
        if self._sure:
            self._submit(extent.intersection(self._sure), urgent=urgent)
        if self.borders is not None:
            self.borders.look()
        self._note_whole()

    def _count(self, state: SourceState | None, extent: Extent) -> None:
        self.held.add(extent)
        if state is not None:
            state.score.brought.add(extent)

    def settled(self) -> bool:
        """Say whether all that is here is verified, and nothing of it was ever found wrong that came as a loan.

        What is in doubt is hashed for that.
        """
        if self.level is Level.WHOLE or self._misled:
            return False
        self.examine(Extent(0, self.content.size), urgent=False, most=EXAMINED)
        return not self.verifier.pending and self.held.total == self.stored.verified.total

    def arrived(self, state: SourceState | None, extent: Extent, *, urgent: bool) -> None:
        """Take in that *extent* is in the data file, where *state*'s source put it and found it good.

        Raises StoreError.
        """
        for gap in list(self.held.missing(extent)):
            self.stored.arrived(gap)
            self._count(state, gap)
        self._filed(extent, urgent=urgent)
        self.certify(extent)

    def certify(self, extent: Extent) -> None:
        """Take in that a torrent's hashes told that *extent* is right, where no digest known here can tell.

        Where one can, it is the one that counts.
        """
        if self.level is not Level.NONE:
            return
        for part in outside(extent, self._sure):
            if self.stored.written.covers(part):
                self.stored.mark_verified(part)
                self._roster.settle(part)

    def ended(self, flight: Flight) -> None:
        """Take in that *flight* brings nothing any more: what it left unfinished is written. Raises StoreError."""
        assembly = self._assemblies.of(flight.number)
        if assembly is not None:
            self._flush(assembly)

    def _flush(self, assembly: Assembly) -> None:
        self._assemblies.abandon(assembly)
        extent, data = assembly.here
        try:
            self.stored.write(extent.start, data)
        except StoreError:
            self._lose(extent)
            raise

    def close(self) -> None:
        """Write what waits in memory for a verdict that nobody will hear, and let memory go. Raises StoreError."""
        self.fresh.forget(Extent(0, self.content.size))
        waiting = {index: job.data for index, job in self.verifier.pending.items() if job.data is not None}
        try:
            for index, data in waiting.items():
                self.stored.write(self._chunk_map.extent(index).start, data)
        finally:
            for index, data in waiting.items():
                self.fresh.renounce(index)
                self._assemblies.release(data)

    def _submit(self, extent: Extent, *, urgent: bool) -> None:
        for index in self._chunk_map.touching(extent):
            chunk = self._chunk_map.judged(index)
            if self.held.covers(chunk) and not self.stored.verified.covers(chunk):
                self.verifier.submit(index, urgent=urgent)

    def _note_whole(self) -> None:
        if self.level is Level.WHOLE and not self.complete:
            self.whole_due = self.readable(Extent(0, self.content.size))

    def examine(self, extent: Extent, *, urgent: bool, most: int = 1 << 30) -> None:
        """Have at most *most* of the chunks hashed that are in doubt there."""
        if self.borders is not None:
            self.borders.look()
        for part in list(self.doubt.overlap(extent)):
            for index in self._chunk_map.touching(part)[:most]:
                self.verifier.submit(index, urgent=urgent)
                most -= 1

    def drop(self, extent: Extent) -> None:
        """Discard *extent*: it is neither held nor owed to anybody any more."""
        for assembly in self._assemblies.touching(extent):
            self._assemblies.abandon(assembly)
            self._lose(assembly.chunk)
        for index in self._chunk_map.touching(extent) if self.verifier.pending else ():
            self.verifier.forget(index)
        self._lose(extent)
        self.doubt.remove(extent)
        if self.borders is not None:
            self.borders.forget(extent)
        try:
            self.stored.discard(extent)
        except StoreError as error:  # what is fetched again goes over it
            self._store_failed(error)

    def evicted(self, extent: Extent) -> None:
        """Take in that the store gave up *extent*; a verdict over what it was says nothing any more."""
        for index in self._chunk_map.touching(extent) if self.verifier.pending else ():
            job = self.verifier.pending.get(index)
            if job is not None and job.data is None:
                self.verifier.forget(index)
        self._lose(extent)
        self.doubt.remove(extent)
        if self.borders is not None:
            self.borders.lost(extent)
        self._note_whole()

    # -- verdicts -------------------------------------------------------------------------------------------

    def _judged(self, verdict: Verdict) -> None:
        index, data = verdict.job.index, verdict.job.data
        if verdict.unwritten:
            if data is not None and not verdict.stale:
                self.fresh.show(index, data)
                self._verdict(True)
            return
        self._settle_one(verdict, self._chunk_map.judged(index))
        if data is not None:
            self._put_away(verdict, data)
        if not verdict.stale:
            self._note_whole()
            self._verdict(verdict.good)

    def _settle_one(self, verdict: Verdict, extent: Extent) -> None:
        index, data = verdict.job.index, verdict.job.data
        if verdict.stale:
            if data is not None and verdict.good and verdict.error is None:
                self.stored.strayed(extent)
            return
        self.doubt.remove(extent)
        try:
            if isinstance(verdict.error, StoreFull) and data is not None:
                self.stored.write(extent.start, data)  # evicts for it
            elif verdict.error is not None:
                raise verdict.error
            elif verdict.good and data is not None:
                self.stored.landed(extent, verdict.sums)
            elif verdict.good:
                self.stored.sums.keep(verdict.sums)
            if verdict.good:
                self._acquit(index, extent)
            else:
                self._convict(index, extent)
        except StoreError as error:
            self._lose(extent)
            self._store_failed(error)

    def _put_away(self, verdict: Verdict, data: memoryview) -> None:
        """Keep the chunk in *data*, which was judged, for its reader; else let others use the memory."""
        job = verdict.job
        filed = verdict.error is None and not verdict.stale and self.held.covers(self._chunk_map.judged(job.index))
        if not (verdict.good and filed and job.kept and self.fresh.keep(job.index, data)):
            self.fresh.landed(job.index)
            if job.kept:
                self.fresh.renounce(job.index)
            self._assemblies.release(data)

    def settle_border(self, border: Border, good: bool | None) -> None:
        """Take in the verdict over an end that shares a piece with other files; None: nobody could tell."""
        index = self._chunk_map.touching(border.own)[0]
        try:
            if good:
                self._acquit(index, border.own)
            elif good is not None:
                self._convict(index, border.own)
        except StoreError as error:
            self._store_failed(error)
        self._verdict(good is not False)

    def _lose(self, extent: Extent) -> None:
        """Take in that *extent*, held until now, is nowhere."""
        self.fresh.forget(extent)
        self.held.remove(extent)
        self._roster.settle(extent)

    def _acquit(self, index: int, extent: Extent) -> None:
        self.stored.mark_verified(extent)
        self._roster.settle(extent)
        self._blame.acquit(index, extent)

    def _convict(self, index: int, extent: Extent) -> None:
        self._blame.convict(index, extent)
        self._misled |= self.stored.loan.given
        self.drop(extent)

    # -- contents with a digest of the whole only -----------------------------------------------------------

    async def judge_whole(self) -> bool | None:
        """Return whether all of it matches; None, and if cancelled: ask another time. Raises StoreError."""
        digest = self.content.digest
        return True if digest is None else await match_whole(self.stored, digest)

    def settle_whole(self, good: bool | None) -> None:
        """Take in the verdict: all is verified, or discarded and asked of one source at a time; None: judged anew."""
        self.whole_due = False
        everything = Extent(0, self.content.size)
        if good is None:
            self._note_whole()
        elif good:
            self.stored.mark_verified(everything)
            self._roster.settle(everything)
        else:
            brought = self._roster.contributors(everything)
            known = ExtentSet(part for _, part in brought).covers(everything)
            # What an earlier run left may have rotted since: then who brought the rest is not to blame.
            guilty = {state for state, _ in brought} if known else set()
            for state in guilty if len(guilty) == 1 else ():
                state.score.bad_chunks += 1
                state.score.reason = "sent wrong bytes: the whole file does not match its digest"
                state.score.drop(trio.current_time())
                self._incidents.add(state.source.name, state.score.reason)
            if len(guilty) > 1:
                self._roster.accuse(-1, [(state, everything, b"") for state in guilty], everything)
            self._incidents.add(None, f"the whole file does not match {self.content.digest}; it was discarded")
            self.drop(everything)
        self._verdict(good is not False)
