"""The sources of one content: who may be asked now, whom to blame, when none is left.

Pure but for the clock that callers pass in.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator

from mountdl.descriptors.model import SwarmRef
from mountdl.engine.flight import SourceState
from mountdl.engine.scoreboard import SECOND_CHANCE, HostScore, SourceScore
from mountdl.engine.status import SourceStatus
from mountdl.engine.views import LONGEST_FLIGHT, SourceView
from mountdl.errors import ContentChanged, ContentUnavailable, MountdlError, SourceError, SourceMismatch
from mountdl.extents import Extent
from mountdl.sources.base import Joined

ALONE = 60.0
"""Seconds until background work asks a source again that failed too often, where none works: as without a network."""
LAST_RESORT = 5.0
"""Seconds until a reader who has no other source asks one again that refused."""
OFFLINE_PATIENCE = 5.0
"""Seconds that a reader waits for sources that all fail before it is told so."""
TRIAL_FLIGHT = 1 << 20
"""Bytes of a flight while more lanes are on trial, or what takes a few round trips: where they only compete, little is
in their way."""
SPARE = 2
"""Lanes to a host beyond those that pay, for readers only: a seek need not wait for a long flight."""

MOST_OFFERED = 64
"""Sources that the planner may choose among at most: its work grows with their number, and far fewer ever fly."""


class Roster:
    """The sources of one content. *retry_wait* is where back-off starts, in seconds.

    After *max_tries* failures in a row a source is asked only for a reader, until it delivers again; 0: never so.
    *lane_each*: one that has no flight may have one, whatever lanes of its host are taken.
    """

    def __init__(self, retry_wait: float, max_tries: int, *, lane_each: bool = False) -> None:
        self.states: list[SourceState] = []
        self._retry_wait, self._max_tries, self._lane_each = retry_wait, max_tries, lane_each
        self._avoid: dict[Extent, set[SourceState]] = {}
        self._suspicions: dict[int, list[tuple[SourceState, Extent, bytes]]] = {}
        self._changed: set[SourceState] = set()

    @property
    def rate(self) -> float:
        """What all usable sources are expected to bring together, in bytes a second."""
        return sum(s.host.rate * s.host.lanes.allowed for s in self.states if not s.score.dropped)

    @property
    def lanes(self) -> int:
        """Connections that pay, or are on trial, to all usable mirrors together; at least 1."""
        mirrors = (s for s in self.states if not s.score.dropped and not isinstance(s.ref, SwarmRef))
        return max(1, sum(host.lanes.allowed for host in {s.host for s in mirrors}))

    def pace(self, reach: float) -> tuple[float, int]:
        """Return what may be expected, in bytes a second and at most *reach*, and the connections that bring it."""
        return min(self.rate, reach), self.lanes

    @property
    def trying(self) -> bool:
        """Whether it shows now how many connections pay: to a server that sends and is new, or on trial."""
        sending = (state.host for state in self.states if state.flights and state.host.delivered)
        return any(host.lanes.trying or not host.lanes.one for host in sending)

    def sample(self, now: float) -> list[HostScore]:
        """Measure what connections bring; return the hosts that have fewer from now on, for they did not pay."""
        hosts = {state.host: state.host.lanes.allowed for state in self.states}
        for host in hosts:
            host.sample(now)
        return [host for host, before in hosts.items() if host.lanes.allowed < before]

    def views(self, now: float, *, awaited: bool = False) -> list[SourceView]:
        """Return the sources that may be asked now, as the planner sees them; *awaited*: a reader waits."""
        if awaited:
            self._seek()
        if awaited and self._none_works:
            self._resort_to_dropped(now)
        for extent in list(self._avoid):
            if not any(_works(state, now) for state in self._able(extent, now, self._chosen(extent))):
                self._choose_another(extent, now)
        return [view for i, state in self._offered(now) if (view := self._view(i, state, now)) is not None]

    def _seek(self) -> None:
        """Have swarms look for peers: mirrors that are asked first may bring nothing."""
        for state in self.states:
            if isinstance(state.ref, SwarmRef) and isinstance(state.source, Joined):
                state.source.seek()

    def _offered(self, now: float) -> list[tuple[int, SourceState]]:
        """Return the sources that are worth the planner's time, and the place of each.

        Of a long list those that fly, then the most promising; of one host no more than it has lanes.
        """
        places = list(enumerate(self.states))
        if len(places) <= MOST_OFFERED:
            return places
        able = [place for place in places if place[1].score.ready_for_read(now, self._retry_wait)]
        able.sort(key=lambda place: _promise(place[1]))
        hosts, offered, streams = Counter[HostScore](), list[tuple[int, SourceState]](), list[tuple[int, SourceState]]()
        for place, state in able:
            hosts[state.host] += 1
            if state.flights or hosts[state.host] <= state.host.lanes.limit + SPARE:
                (streams if state.source.limits.sequential else offered).append((place, state))
                if len(offered) >= MOST_OFFERED:
                    break
        return offered + streams[:MOST_OFFERED]

    def _view(self, index: int, state: SourceState, now: float) -> SourceView | None:
        score, limits = state.score, state.source.limits
        state.follow(limits.host)
        host = state.host
        if score.dropped and score.ready(now):
            self._revive(state)
        if not score.ready_for_read(now, self._retry_wait):
            return None
        if not _takes(state):
            return None
        own = limits.parallel - state.flights
        if self._lane_each and not state.flights and not score.strikes:
            host.lanes.admit(host.busy(now))
        # A source that failed last gets one flight to show that it is back.
        lanes = host.lanes.allowed if score.strikes == 0 else 1
        busy = host.busy(now)
        free = min(own, lanes - busy) if score.ready(now) else 0
        return SourceView(
            source=index,
            free=max(0, free),
            urgent=max(0, min(own, lanes + SPARE - busy, host.lanes.limit + SPARE - len(host.flying))),
            latency=host.latency.mean,
            rate=max(host.rate, 1.0),
            rank=state.rank,
            longest=_trial_flight(host) if host.lanes.trying else LONGEST_FLIGHT,
            strikes=score.strikes,
            least=limits.least,
            sequential=limits.sequential,
            divides=not isinstance(state.ref, SwarmRef),
            unknown=not host.latency.samples,
            bad=(*score.bad, *(extent for extent, avoiding in self._avoid.items() if state in avoiding)),
        )

    def _chosen(self, extent: Extent) -> list[SourceState]:
        """Return who was chosen to bring *extent* alone."""
        return [state for state in self.states if state not in self._avoid[extent]]

    def _able(self, extent: Extent, now: float, states: Iterable[SourceState]) -> Iterator[SourceState]:
        """Yield those of *states* that can be asked for all of *extent* now."""
        for state in states:
            bad = any(extent.overlaps(bad) for bad in state.score.bad)
            if state.score.ready_for_read(now, self._retry_wait) and not bad and _takes(state):
                yield state

    def _choose_another(self, extent: Extent, now: float) -> None:
        """Have one of those that can bring *extent* bring it alone; where none can, anybody may bring what it can.

        One that fails or is silent is the last to be chosen: several of these, asked by turns, would keep a reader
        waiting for ever, though one of the accused is honest.
        """
        able = self._able(extent, now, self.states)
        another = min(able, key=lambda state: (not _works(state, now), *_trust(state, extent.length)), default=None)
        if another is None:
            del self._avoid[extent]
        else:
            self._avoid[extent] = {state for state in self.states if state is not another}

    @property
    def _none_works(self) -> bool:
        return all(state.score.dropped or state.score.strikes for state in self.states)

    def _resort_to_dropped(self, now: float) -> None:
        """Have those asked again that refused a while ago: it may have been our network's answer, not theirs."""
        for state in self.states:
            score = state.score
            if score.dropped and not score.bad_chunks and now >= score.failed_at + LAST_RESORT:
                self._revive(state)

    def ask_again(self) -> None:
        """Have those asked at once that refused, or failed too often, but who sent wrong bytes: they may do now."""
        for state in self.states:
            score = state.score
            if score.dropped and not score.bad_chunks:
                self._revive(state)
            if not score.dropped:
                score.strikes = min(score.strikes, self._max_tries != 1)
                score.retry_at = score.asked_to_wait_until

    def rest(self, now: float) -> float:
        """Return the seconds until a source may be asked for what nobody waits for."""
        return min((state.score.retry_at - now for state in self.states), default=SECOND_CHANCE)

    def _revive(self, state: SourceState) -> None:
        state.score.dropped = False
        state.score.bad.clear()
        state.score.bad_chunks = min(state.score.bad_chunks, 1)
        state.score.strikes = 1
        self._changed.discard(state)

    # -- failures -----------------------------------------------------------------------------------------

    def failed(self, state: SourceState, error: SourceError, now: float, began: float | None = None) -> None:
        """Note that a flight of *state*, begun at *began*, failed.

        What failed together, as when a server goes and cuts all connections, is one strike.
        """
        if isinstance(error, SourceMismatch):
            self._changed.add(state)
        together = began is not None and state.score.strikes > 0 and began <= state.score.failed_at
        state.score.asked_at = max(state.score.asked_at, now if began is None else began)
        state.score.failed(error, now, self._retry_wait, random.random, strike=not together)
        if self._max_tries and state.score.strikes >= self._max_tries:
            state.score.give_up(now, ALONE if self._none_works else SECOND_CHANCE)

    def _alive(self, extent: Extent) -> list[SourceState]:
        return [s for s in self.states if not s.score.dropped and not any(extent.overlaps(b) for b in s.score.bad)]

    def exhausted(self, extent: Extent) -> MountdlError | None:
        """Return the error for who wants *extent* of which no source is left, or None while one is."""
        if not self.states:
            return ContentUnavailable("no source of this file can be used: see its descriptor's warnings")
        if self._alive(extent):
            return None
        if len(self._changed) == len(self.states):
            return ContentChanged(f"every source has another file now: {self.reasons()}")
        return ContentUnavailable(f"no source is left: {self.reasons()}")

    def failed_all(self, extent: Extent) -> MountdlError | None:
        """Return the error for who waits long for *extent* of which each mirror failed too often in a row, else None.

        A swarm is not counted among them: who has no peer may have one soon.
        """
        if error := self.exhausted(extent):
            return error
        most = self._max_tries
        given_up = (most and s.score.strikes >= most and not isinstance(s.ref, SwarmRef) for s in self._alive(extent))
        return ContentUnavailable(f"no source is left: {self.reasons()}") if all(given_up) else None

    def hopeless(self, extent: Extent, since: float, now: float) -> MountdlError | None:
        """Return the error for a reader who has waited for *extent* since *since*, or None while there is hope."""
        error, alive = self.exhausted(extent), self._alive(extent)
        if error is not None:
            return error
        if all(_failed(s.score, since, now) for s in alive) and now - since >= OFFLINE_PATIENCE:
            return ContentUnavailable(f"no source answers: {self.reasons()}")
        return None

    def reasons(self) -> str:
        """Return what each source that failed answered, as one phrase."""
        said = [f"{s.source.name}: {reason}" for s in self.states if (reason := _reason(s))]
        more = f"; and {len(said) - 8} more" if len(said) > 8 else ""
        return "; ".join(said[:8]) + more or "none has answered yet"

    # -- blame --------------------------------------------------------------------------------------------

    def named(self, name: str) -> SourceState | None:
        """Return the source that is called *name*."""
        return next((state for state in self.states if state.source.name == name), None)

    def contributors(self, extent: Extent) -> list[tuple[SourceState, Extent]]:
        """Return who brought which part of *extent*, as far as it is not verified yet."""
        return [(state, part) for state in self.states for part in state.score.brought.overlap(extent)]

    def settle(self, extent: Extent) -> None:
        """Forget who brought *extent*: it is judged."""
        for state in self.states:
            state.score.brought.remove(extent)

    def accuse(self, index: int, parts: Iterable[tuple[SourceState, Extent, bytes]], extent: Extent) -> None:
        """Keep what several sources brought for chunk *index* that failed, until the right bytes tell who lied.

        *parts*: source, extent and digest of its bytes. Until then the chunk is asked of those that had no part in it
        and, if it is accused once more, of one source alone: two halves of the sources, each with a liar among them,
        would be asked by turns for ever.
        """
        accused, again = list(parts), index in self._suspicions
        self._suspicions.setdefault(index, []).extend(accused)
        guilty = {state for state, _, _ in accused}
        usable = [state for state in self.states if not state.score.dropped and _takes(state)]
        others = [] if again else [state for state in usable if state not in guilty]
        keep = others or sorted(usable or guilty, key=lambda state: _trust(state, extent.length))[:1]
        self._avoid[extent] = {state for state in self.states if state not in keep}

    def suspicions(self, index: int, extent: Extent) -> list[tuple[SourceState, Extent, bytes]]:
        """Return and forget the suspicions of chunk *index*; every source may be asked for it again."""
        self._avoid.pop(extent, None)
        return self._suspicions.pop(index, [])

    # -- status -------------------------------------------------------------------------------------------

    def statistics(self, now: float) -> tuple[SourceStatus, ...]:
        """Return what is known of each source, in the descriptor's order."""
        return tuple(
            SourceStatus(
                name=state.source.name,
                state=self._state(state, now),
                flights=state.flights,
                rate=state.host.rate if state.host.flights else 0.0,
                delivered=state.score.delivered,
                failures=state.score.failures,
                bad_chunks=state.score.bad_chunks,
                reason=_reason(state),
            )
            for state in self.states
        )

    @staticmethod
    def _state(state: SourceState, now: float) -> str:
        if state.score.dropped:
            return "dropped"
        if not state.score.ready(now):
            return "waiting"
        if state.flights:
            return "active"
        return "failing" if state.score.strikes else "idle"


def _takes(state: SourceState) -> bool:
    """Say whether it takes flights at all: a swarm that nobody answers from does not."""
    return bool(state.source.limits.parallel or state.flights)


def _trust(state: SourceState, length: int) -> tuple[int, int, float, int]:
    """Return what sorts sources by who should bring *length* bytes alone that were wrong.

    One that breaks off brings nothing alone, and a reader may wait: of those that never did the quickest.
    """
    return state.score.bad_chunks, state.score.failures, _soon(state, length), state.rank


def _soon(state: SourceState, length: int) -> float:
    return state.host.latency.mean + length / state.host.rate


def _works(state: SourceState, now: float) -> bool:
    return not state.score.strikes and not state.host.silent(now)


def _failed(score: SourceScore, since: float, now: float) -> bool:
    """Say whether it failed a reader who waits since *since*: by a try of this time, or it says that it takes none.

    What fails that was asked before, and while a network was down, tells nothing of what a new try would bring.
    """
    lately = score.failed_at >= since - OFFLINE_PATIENCE
    return score.strikes > 0 and lately and (score.asked_at >= since or now < score.asked_to_wait_until)


def _trial_flight(host: HostScore) -> int:
    return max(TRIAL_FLIGHT, int(host.rate * (2 * host.round_trip + 0.05)))


def _promise(state: SourceState) -> tuple[bool, bool, bool, float, int]:
    """Return what sorts sources by what may be hoped of them, the best first."""
    score = state.score
    soon = _soon(state, LONGEST_FLIGHT)
    return not state.flights, score.strikes > 0, bool(score.bad), soon, state.rank


def _reason(state: SourceState) -> str | None:
    """Return why *state* does not deliver, as it failed or as it says itself."""
    if state.score.reason is None and isinstance(state.source, Joined):
        return state.source.trouble
    return state.score.reason
