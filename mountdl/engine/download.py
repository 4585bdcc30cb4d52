"""Make one content present: its flights, its waiters, its verdicts.

Law: bytes go from a source through `take` into the store; a reader is woken when what it wants is
readable, and takes it from the store. Deduplication, retry, switching mirror, hedging and completion
in the background are one act: change state, `_replan()`. All state changes in `def` methods. It knows
neither files and inodes nor protocols.
"""

import logging
from collections.abc import Callable
from functools import partial
from weakref import proxy

import trio

from mountdl.content import Content, Level
from mountdl.engine.background import Background
from mountdl.engine.borders import Borders, Fetch
from mountdl.engine.demand import Demand, Want
from mountdl.engine.fleet import FIRST_LOOK, Fleet
from mountdl.engine.flight import Flight, SourceState
from mountdl.engine.hearing import Hearing
from mountdl.engine.incidents import Incidents
from mountdl.engine.nap import Nap
from mountdl.engine.planner import plan
from mountdl.engine.roster import Roster
from mountdl.engine.settling import Settling
from mountdl.engine.sparing import Sparing
from mountdl.engine.status import DownloadStatus, state_of
from mountdl.engine.traffic import Traffic
from mountdl.engine.waiting import Waiter, Waiters
from mountdl.engine.windows import Windows
from mountdl.errors import ContentUnavailable, MountdlError, SourceError, StoreCrowded, StoreError, StoreFull
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings
from mountdl.store.stored import Stored
from mountdl.weak import weakly

log = logging.getLogger(__name__)

STORE_PAUSE = 30.0
"""Seconds without background work after the store failed."""


class Download:
    """The work of making *content* present in *stored*.

    *discarded* is called when bytes that readers may have seen were thrown away, *fetch* for bytes of other
    files that share pieces with this one.
    """

    def __init__(
        self,
        content: Content,
        stored: Stored,
        settings: EngineSettings,
        traffic: Traffic,
        discarded: Callable[[Content], None],
        fetch: Fetch,
    ) -> None:
        self.content, self.stored = content, stored
        # Kept for life: what is in the store was cut and is judged by it, whatever a descriptor says later.
        self._chunk_map = content.chunk_map
        self.roster = roster = Roster(settings.retry_wait, settings.max_tries, lane_each=settings.lane_each)
        self.incidents = Incidents()
        self.readers, self.idle_since = 0, trio.current_time()
        self.error: str | None = None
        self.starved = self.paused = False
        self._settings, self._traffic, self._discarded = settings, traffic, discarded
        told = weakly(self._verdict), weakly(self.store_failed)
        self._settling = Settling(content, stored, roster, self.incidents, *told)
        if content.borders and content.level is Level.NONE:
            self._settling.borders = Borders(content, stored, fetch, weakly(self._settling.settle_border))
        self._demand, self.readable = Demand(), self._settling.at_hand
        self.glance, self.hear = self._settling.glance, self._settling.hear
        self._windows = Windows(self._demand, content.chunk_map, lambda: roster.pace(stored.room.reach))
        self._fleet, self._waiters = Fleet(proxy(self), self.incidents), Waiters()
        self._settling.verifier.awaited = self._waiters.__bool__
        self._background = Background(self._demand, content.chunk_map)
        needs = self._demand, self._background, self._windows
        Sparing(*needs, self._settling, content.chunk_map).attach(stored, self.incidents)
        self._no_background_until, self._failure = 0.0, StoreError()
        self._nap = Nap()  # until it looks after all again
        self._nursery: trio.Nursery | None = None
        self.hearing = Hearing(stored, self._settling, roster, self.incidents, weakly(self.poke), weakly(self._filed))

    # -- what readers see ---------------------------------------------------------------------------------

    async def ensure(self, extent: Extent) -> None:
        """Return once *extent* is readable.

        Raises ContentUnavailable, ContentChanged or StoreError, at the latest after the read time-out.
        If cancelled, the want is withdrawn; bytes already written stay.
        """
        if self.readable(extent):
            return
        earlier, want = self.error, self._demand.add(self._chunk_map.cover(extent), Priority.READ)
        waiter = self._waiters.add(extent, want, trio.current_time())
        self._traffic.reading(1, waiter.since)
        self._settling.examine(want.extent, urgent=True)
        self._fleet.hasten(want.extent)
        self._replan()
        try:
            self.hear()  # from now on threads tell what they find, for somebody waits
            self._nap.within(min(FIRST_LOOK, self._interval()))
            with trio.move_on_after(self._settings.read_timeout):
                await waiter.answered(self.readable, self._replan)
            if waiter.error is not None or not waiter.event.is_set():
                raise waiter.error or self._too_late(extent)
            if self.error is earlier:
                self.error = None
        finally:
            self._waiters.remove(waiter)
            self._demand.remove(want)
            self._windows.answered(extent, trio.current_time())
            self._traffic.reading(-1, trio.current_time())

    def used(self, extent: Extent) -> None:
        """Take in that a reader reads *extent*: fetch ahead of it, and the rest once it is really used."""
        if self.complete:
            return  # nothing is left to fetch, and random reads of a stored file are short
        if self._background.used(extent.length) and self._settings.background != "off":
            self.want(Extent(0, self.content.size))
        now = trio.current_time()
        window = self._windows.advance(extent, now, self._settling.held)
        if now < self._no_background_until:
            self._windows.clear()  # what the store can't take need not be fetched before somebody waits for it
        elif window is not None:
            self._settling.examine(window, urgent=False)
            if self.readable(extent):
                self._replan()  # else `ensure` will, for the read and what is ahead of it together

    def want(self, extent: Extent) -> Want:
        """Fetch *extent* in idle bandwidth until `unwant` is called with the result or it is readable for good."""
        self._nap.end()
        return self._background.add(extent)

    def unwant(self, want: Want) -> None:
        """Withdraw *want*; one that is fulfilled already is no error."""
        self._background.remove(want)

    def damaged(self, extent: Extent) -> None:
        """Take in that the store could not give *extent* back: fetch it again."""
        for cover in list(ExtentSet(map(self._chunk_map.cover, self.stored.lost(extent)))):
            self.incidents.add(None, "the store lost bytes; they are fetched again", cover)
            self._settling.drop(cover)
        self._replan()

    @property
    def complete(self) -> bool:
        """Whether all of it is here and judged as far as it can be."""
        return self._settling.complete

    @property
    def busy(self) -> bool:
        """Whether anybody uses it or anything is under way."""
        wanted = self._background and not self.complete  # what is fulfilled is withdrawn at the next look only
        return bool(self.readers or self._fleet or self._waiters or self._settling.busy or wanted)

    @property
    def stuck(self) -> bool:
        """Whether it is neither read nor can it go on by itself: no source may be asked now."""
        able = any(state.score.ready(trio.current_time()) for state in self.roster.states)
        return not (self.readers or self._fleet or self._waiters or able or self._settling.verifier.pending)

    def trouble(self, *, disk: bool) -> MountdlError | None:
        """Return why what is wanted comes from no source any more, or, with *disk*, finds no place there now."""
        if disk and self.stored.room.allowance() < Priority.BACKGROUND:
            return StoreFull("no room is left on the disk that it goes to")
        if disk and trio.current_time() < self._no_background_until:
            return self._failure
        gap = next(self._settling.held.missing(Extent(0, self.content.size)), None)
        return None if gap is None or any(self._fleet.overlapping(gap)) else self.roster.failed_all(gap)

    def statistics(self) -> DownloadStatus:
        """Return what is known now."""
        now, stored = trio.current_time(), self.stored
        active = bool(self._fleet) or self._settling.whole_due
        state = state_of(self.error, complete=self.complete, active=active, waiting=bool(self._waiters))
        rate, sources = self._traffic.rate(self.content.key, now), self.roster.statistics(now)
        counts = stored.verified.total, stored.written.total
        return DownloadStatus(self.content.size, *counts, state, rate, self.readers, sources, self.error)

    # -- its life -------------------------------------------------------------------------------------------

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Fly, judge and re-decide until cancelled by `stop` or from above."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for judge in self._settling.judges():
                    nursery.start_soon(judge)
                task_status.started()
                try:
                    await self._live()
                finally:
                    self._nursery = None  # flights that land now must not launch others
        finally:
            self._settle(self._settling.close)

    async def _live(self) -> None:
        while True:
            self._tick()
            while self._settling.whole_due:
                await self._judge_whole()
            await self._nap.sleep(self._interval())

    def stop(self) -> None:
        """End `run`."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def abandon(self, error: MountdlError) -> None:
        """Tell all who wait that it is over."""
        for waiter in self._waiters:
            self._fail(waiter, error)

    def adopt(self, content: Content, states: list[SourceState]) -> None:
        """Use *states* as the sources from now on; *content* is the same bytes as before."""
        self.content = content
        self.roster.states = states
        if len(states) > 1:
            self.stored.loan.recall()  # two can't write the data file side by side
        self._replan()

    def poke(self) -> None:
        """Have it re-decide soon: a lane that it may have waited for is free."""
        self._nap.end()

    def _interval(self) -> float:
        if self._waiters or self._fleet:
            return 0.02 if self.roster.trying else 0.05 if self._waiters or self._windows.on_trial else 0.2
        return 1.0 if self._demand and not self.complete else 30.0

    def _tick(self) -> None:
        now = trio.current_time()
        for host in self.roster.sample(now):
            self._fleet.trim(host)
        self._windows.widen(self._settling.held)
        self._windows.expire(now)
        self._settling.fresh.trim()
        if self._waiters and self._fleet.waits(now):
            self._settling.expect()
        self._background.fulfil(self._settling.fulfils)
        if self._may_work(now) and not self._settling.verifier.pending:
            for want in self._background:
                self._settling.examine(want.extent, urgent=False, most=8)
        self._replan()

    async def _judge_whole(self) -> None:
        everything = Extent(0, self.content.size)
        try:
            good = await self._settling.judge_whole()
        except StoreError as error:
            self._settling.whole_due = False
            self.store_failed(error)
            self.damaged(everything)
            return
        self._settling.settle_whole(good)
        if good is False:
            self.error = f"the whole file did not match {self.content.digest} and was discarded"
            log.warning("%s: %s", self.content.key, self.error)
            self._discarded(self.content)
            if self.roster.exhausted(everything):
                self._background.withdraw(everything)  # else it would come in vain again when one may be tried

    # -- planning -----------------------------------------------------------------------------------------

    def _may_work(self, now: float) -> bool:
        return self._traffic.quiet(now) and now >= self._no_background_until

    def _replan(self) -> None:
        if self._nursery is None:
            return
        now = trio.current_time()
        least = Priority.READ if self.paused else Priority.BACKGROUND if self._may_work(now) else Priority.READAHEAD
        least = min(least, self.stored.room.allowance())
        wants = [want for want in self._demand if want.priority <= least]
        if not wants and not self._fleet:
            return
        held, states = self._settling.held, self.roster.states
        views = self._fleet.views(now, held, states)
        lanes = min(self._settings.split, self.content.max_connections or self._settings.split)
        decided = plan(wants, held, views, self.roster.views(now, awaited=bool(self._waiters)), self._chunk_map, lanes)
        self.starved = decided.starved
        for number in decided.cancels:
            self._fleet.cancel(number, silent=number in decided.silent)
        for assignment in decided.assignments:
            self._fleet.launch(assignment, states[assignment.source], self._nursery)
        self._despair(now)

    def _despair(self, now: float) -> None:
        """Tell readers whose extent no source can bring any more."""
        for waiter in self._waiters:
            cover = self._chunk_map.cover(waiter.extent)
            gap = next(self._settling.held.missing(cover), None)
            if gap is None or any(self._fleet.overlapping(cover)):
                continue  # it waits for a verdict, or for bytes on their way
            if (error := self.roster.hopeless(gap, waiter.since, now)) is not None:
                self._fail(waiter, error)

    def _fail(self, waiter: Waiter, error: MountdlError) -> None:
        if waiter.fail(error, self.readable):  # else its bytes are here, and its want keeps them until it has read them
            if str(error) != self.error:
                self.incidents.read_failed(f"a read failed: {error}", waiter.extent, error, trio.current_time())
            self.error = str(error)
            self._demand.remove(waiter.want)

    def _too_late(self, extent: Extent) -> ContentUnavailable:
        seconds, cover = self._settings.read_timeout, self._chunk_map.cover(extent)
        why = self._settling.verifier.withheld(cover) or self._traffic.enough(cover.length, seconds)
        self.error = f"bytes {extent} did not arrive within {seconds:g} s: {why or self.roster.reasons()}"
        what = f"a read timed out after {seconds:g} s" + (f": {why}" if why else "")
        self.incidents.read_failed(what, extent, self.error, trio.current_time())
        return ContentUnavailable(self.error)

    # -- flights ------------------------------------------------------------------------------------------

    def certify(self, extent: Extent) -> None:
        """See `Intake`."""
        self._settling.certify(extent)

    def landed(self, flight: Flight) -> None:
        """See `Tower`."""
        self.idle_since = trio.current_time()
        self._settle(partial(self._settling.ended, flight))
        self._replan()
        self._traffic.freed()

    def _settle(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StoreError as error:
            self.store_failed(error)

    def room(self, flight: Flight, offset: int) -> memoryview | None:
        """See `Intake`."""
        return self._settling.room(flight, offset)

    def pause(self, flight: Flight, now: float) -> float:
        """See `Intake`. Who waits for a part of a chunk waits for the rest of it too."""
        urgent = lambda: self._waiters.await_any(self._chunk_map.cover(flight.rest))  # noqa: E731
        return self._waiters.turn or self._traffic.pause(self.content.key, now, urgent, awaited=bool(self._waiters))

    def take(self, flight: Flight, offset: int, data: memoryview) -> None:
        """See `Intake`."""
        flight.state.delivered(length := len(data))
        self._traffic.received(self.content.key, length, flight.last_at)
        chunks = self._chunk_map.cover(Extent(offset, offset + length))
        self._settling.take(flight, offset, data, urgent=self._waiters.await_any(chunks))
        self.hear()
        self._wake()
        self.progressed(flight)

    def progressed(self, flight: Flight) -> None:
        """See `Intake`."""
        if flight.ends(flight.last_at):
            self._replan()  # its lane is as good as free

    def _filed(self, state: SourceState | None, extent: Extent) -> None:
        self._traffic.received(self.content.key, extent.length, trio.current_time())
        urgent = self._waiters.await_any(self._chunk_map.cover(extent))
        self._settle(partial(self._settling.arrived, state, extent, urgent=urgent))
        self._wake()

    def source_failed(self, flight: Flight, error: SourceError) -> None:
        """See `Tower`."""
        name = flight.state.source.name
        log.info("%s: %s", name, error.reason)
        self.incidents.add(name, error.reason, flight.rest)
        now = trio.current_time()
        if flight.delivered:
            flight.state.score.strikes = 0  # it works, if badly
            self._waiters.progress(flight.extent, now)
        self.roster.failed(flight.state, error, now, flight.started_at)

    def store_failed(self, error: StoreError) -> None:
        """See `Tower`."""
        crowded = isinstance(error, StoreCrowded)
        known = str(error) == str(self._failure) and trio.current_time() < self._no_background_until
        log.log(logging.DEBUG if crowded or known else logging.WARNING, "the store: %s", error)
        self._failure = error
        self._no_background_until = trio.current_time() + STORE_PAUSE
        self._windows.clear()
        self._fleet.cancel_all(but_awaited=crowded)  # what they bring has no place to go
        if not crowded:
            self.abandon(error)

    # -- verdicts -----------------------------------------------------------------------------------------

    def _verdict(self, good: bool) -> None:
        (self._wake if good else self._replan)()
        if self._settling.complete:
            self.error, self.idle_since = None, trio.current_time()

    def _wake(self) -> None:
        self._waiters.wake(self.readable)
        if self._settling.whole_due:
            self._nap.end()
