"""What was measured of hosts and sources, and what is expected of them next.

Pure: `now` is an argument, in seconds of whatever clock the caller uses.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority

LATENCY_PRIOR = 0.1
"""Seconds until the first byte, of a host nothing is known of."""
RATE_PRIOR = 20e6
"""Bytes a second of one connection, of a host nothing is known of: optimistic, so that it is tried."""
LONGEST_BACKOFF = 60.0
SECOND_CHANCE = 600.0
"""Seconds after which a dropped source is tried again."""
BAD_CHUNKS_TO_BAN = 2
PRIOR_WEIGHT = 0.02
"""Seconds of receiving that the prior of a rate counts as."""
OVERLAP = 0.9
"""The part of a round trip before a flight's end at which the next request is sent."""
ROUND_TRIPS = 8
"""Flights over which the shortest time to a first byte is taken as the round trip."""
MOST_GIVEN_UP = 3
"""Silent flights in a row, each waited for twice as long (2, 4 and 8 s), before it is short waits again: for a network
that is back."""
LULL = 0.15
"""Seconds without a byte in the middle of an answer that are remembered of a host."""
LONGEST_LULL = 1.2
"""Seconds that such a silence counts as at most. What bounds each connection's rate mostly does so once a second."""
LULLS_KEPT = 20.0
"""Seconds for which they are."""
FADE = 0.8
SHORTEST_TIME = 0.02
"""Seconds: below that the buffers along the way are measured, not the way."""


@dataclass(slots=True)
class Estimate:
    """A running mean and mean deviation, weighted as TCP does (RFC 6298 section 2.3)."""

    mean: float
    deviation: float
    samples: int = 0

    def add(self, sample: float) -> None:
        """Take one more measurement in."""
        if self.samples == 0:
            self.mean, self.deviation = sample, sample / 2
        else:
            self.deviation += (abs(sample - self.mean) - self.deviation) / 4
            self.mean += (sample - self.mean) / 8
        self.samples += 1

    @property
    def bound(self) -> float:
        """What all but unusual measurements stay below."""
        return self.mean + 4 * self.deviation


class Lanes:
    """How many connections to a host pay: twice or four times as many while that adds throughput, else what did."""

    FIRST = 1 << 20
    """Bytes that come from a host before more than one connection brings any: the chunk that its first reader waits for
    shares its way with nothing. More are opened when it will be here before their first byte."""
    EPOCH = 0.15
    """Seconds of full use before a verdict; before more are tried, as many times longer as the square of how many times
    `FAST` is delivered: where that is much, a trial costs more than it is likely to gain. With 0.1 one trial in twelve
    more fails where each connection brings its bytes in bursts of 50 ms (simulated), and a failure holds for long."""
    FAST = 4e6
    LONGEST_EPOCH = 5.0
    SLOW = 5e6
    """Bytes a second of one connection below which four times as many are tried at once, else twice."""
    GAIN = 1.15
    PLAIN = 0.75
    """Part of what as many connections would bring, were each as good as those before, that ends a trial early: no link
    that they share looks like that."""
    GLANCE = 0.05
    """Seconds for which that must be so."""
    APART = 0.005
    """Seconds between two looks at least: many contents may share a host."""
    BURSTS = 3
    """In an epoch at least, where what each connection brings comes in bursts further apart than `LULL`."""
    HOLD = 20.0
    """Seconds before more lanes are tried again after they did not pay."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.allowed = 1
        self.one = 0.0
        """Bytes a second of one connection, at the last verdict; 0 before the first one."""
        self._before: tuple[int, float] | None = None
        self._last: tuple[float, int, bool] | None = None
        self._seen, self._latest = _Steps(), deque[tuple[float, int, int]]()
        self._ready_at = self._hold_until = 0.0

    def sample(self, now: float, delivered: int, busy: int, latency: float = 0.0, lull: float = 0.0) -> None:
        """Take in that *delivered* bytes came from the host in all and *busy* lanes are in use now.

        *latency*: seconds from asking on a new connection to its first byte; they are nobody's fault. *lull*: seconds
        between two bursts of a connection: a verdict takes `BURSTS` of these.
        """
        if self._last is not None and now < self._last[0] + self.APART:
            return  # another content of this host's asked a moment ago
        full = busy * 4 >= self.allowed * 3 and delivered > 0
        last, self._last = self._last, (now, delivered, full)
        if not full and self.trying and not self._seen.seconds:
            self._ready_at = now + latency
        if last is None or not (last[2] and full) or last[0] < self._ready_at:
            return  # what comes over fewer lanes than are allowed says nothing
        self._add(now - last[0], delivered - last[1], busy if lull else min(busy, self.allowed))
        if self._decided(delivered, latency, lull * self.BURSTS):
            self._judge(now, bursty=lull > 0)
            self._seen, self._latest = _Steps(), deque()
            self._ready_at = now + latency if self.trying else now

    def _add(self, seconds: float, delivered: int, lanes: int) -> None:
        self._seen.add(seconds, delivered, lanes)
        self._latest.append((seconds, delivered, lanes))
        while sum(step[0] for step in self._latest) - self._latest[0][0] >= self.GLANCE:
            self._latest.popleft()

    def admit(self, busy: int) -> None:
        """Allow one beyond the *busy* ones, up to the limit: somebody is to have one, whether it pays or not."""
        self.allowed = max(self.allowed, min(self.limit, busy + 1))

    @property
    def trying(self) -> bool:
        """Whether more lanes than before are on trial."""
        return self._before is not None

    def _decided(self, delivered: int, latency: float, bursts: float) -> bool:
        """Say whether enough was seen for a verdict: for *bursts* seconds at least, if not for longer."""
        seen = self._seen
        if self._before is not None:
            return seen.seconds >= max(self.EPOCH, bursts) or (not bursts and self._plain(_Steps.of(self._latest)))
        least = max(bursts, self.EPOCH * min(max(1.0, seen.rate / self.FAST), 10.0) ** 2)
        return seen.seconds >= min(least, self.LONGEST_EPOCH) and delivered + seen.rate * latency / 2 >= self.FIRST

    def _plain(self, seen: "_Steps") -> bool:
        """Say whether the lanes on trial are as good as those before, beyond doubt."""
        return seen.seconds >= self.GLANCE and seen.rate >= self.one * seen.lanes * self.PLAIN

    def _judge(self, now: float, *, bursty: bool) -> None:
        seen = self._seen
        if self._before is not None:
            lanes, least = self._before[0], max(self._before[1], 1.0)
            if not bursty and self._plain(latest := _Steps.of(self._latest)):
                seen, paid = latest, self.allowed
            else:
                paid = lanes if seen.rate < least * self.GAIN else ceil(lanes * seen.rate / least - 0.25)
            full = paid * 4 < self.allowed * 3
            self.allowed, self._before = min(self.allowed, paid), None
            if full:
                self._hold_until = now + self.HOLD
        self.one = seen.rate / max(1.0, min(seen.lanes, self.allowed))
        if now >= self._hold_until and self.allowed < self.limit:
            # What readers' own lanes brought beside them is no merit of fewer.
            self._before = (max(self.allowed, round(seen.lanes)) if bursty else self.allowed, seen.rate)
            self.allowed = min(self.limit, self.allowed * (4 if seen.rate < self.SLOW * self.allowed else 2))


@dataclass(slots=True)
class _Steps:
    """What came in *seconds* of full use, and over how many lanes, summed over time."""

    seconds: float = 0.0
    delivered: int = 0
    lane_seconds: float = 0.0

    @classmethod
    def of(cls, steps: Iterable[tuple[float, int, int]]) -> "_Steps":
        """Return the sum of *steps*: seconds, bytes, lanes."""
        total = cls()
        for step in steps:
            total.add(*step)
        return total

    def add(self, seconds: float, delivered: int, lanes: int) -> None:
        """Take one more step in."""
        self.seconds += seconds
        self.delivered += delivered
        self.lane_seconds += lanes * seconds

    @property
    def rate(self) -> float:
        """Bytes a second of all lanes."""
        return self.delivered / self.seconds if self.seconds else 0.0

    @property
    def lanes(self) -> float:
        """How many they were in the mean."""
        return self.lane_seconds / self.seconds if self.seconds else 0.0


class Flying(Protocol):
    """A flight, as far as its host is concerned."""

    @property
    def priority(self) -> Priority:
        """Who it is for."""

    @property
    def delivers(self) -> bool:
        """Whether its first byte came."""

    def ending(self, now: float) -> bool:
        """Say whether it delivers, and will have ended before another flight's first byte could arrive."""

    def stalled(self, now: float) -> bool:
        """Say whether it is silent for longer than its host ever is."""


class HostScore:
    """One host, over all contents: how long until its first byte, how fast, how many lanes."""

    def __init__(self, limit: int) -> None:
        # Twice the prior without a byte is late enough for a second source, if there is one.
        self.latency = Estimate(LATENCY_PRIOR, LATENCY_PRIOR / 4)
        self.lanes = Lanes(limit)
        self.flying: set[Flying] = set()
        self.delivered = 0
        self.flights = 0
        self.given_up = 0
        """How many flights in a row ended in silence, counted anew from `MOST_GIVEN_UP` on."""
        self.round_trip = LATENCY_PRIOR
        """Seconds from a request to its first byte where a connection is open already."""
        self._first_bytes: deque[float] = deque(maxlen=ROUND_TRIPS)
        self._lulls: deque[tuple[float, float]] = deque(maxlen=8)
        self._seconds = PRIOR_WEIGHT
        self._bytes = RATE_PRIOR * PRIOR_WEIGHT

    def began(self, seconds: float) -> None:
        """Take in that a flight's first byte came *seconds* after it was asked for."""
        self.given_up = 0
        self.latency.add(seconds)
        self._first_bytes.append(seconds)
        self.round_trip = min(self._first_bytes)

    def was_silent(self) -> None:
        """Take in that a flight ended without a first byte, later than that usually comes."""
        self.given_up = (self.given_up + 1) % MOST_GIVEN_UP

    def went_on(self, since: float, now: float) -> None:
        """Take in that the next bytes of an answer came *now*, those before them at *since*.

        Of silences at one time one counts: the network may have been away for all.
        """
        if now - since > LULL and (not self._lulls or self._lulls[-1][0] <= since):
            self._lulls.append((now, min(now - since, LONGEST_LULL)))

    def lull(self, now: float) -> float:
        """Return the seconds of silence in the middle of an answer that are usual: as long as it was twice lately."""
        while self._lulls and self._lulls[0][0] < now - LULLS_KEPT:
            self._lulls.popleft()
        return sorted(seconds for _, seconds in self._lulls)[-2] if len(self._lulls) > 1 else 0.0

    @property
    def rate(self) -> float:
        """Bytes a second of one connection, from the first byte on, over its latest flights."""
        return self._bytes / self._seconds if self.flights or not self.lanes.one else self.lanes.one

    def busy(self, now: float) -> int:
        """Return how many lanes are taken.

        A flight about to end takes none: so the next request is on its way before the last one ends,
        and connections don't compete for one link. But of those that nobody waits for one for each lane at most, lest
        what is behind it keeps it from its end.
        """
        ending = [flight for flight in self.flying if flight.ending(now)]
        ahead = sum(1 for flight in ending if flight.priority is not Priority.READ)
        return len(self.flying) - len(ending) + max(0, ahead - self.lanes.allowed)

    def silent(self, now: float) -> bool:
        """Say whether a flight to it is silent for longer than it ever was."""
        return any(flight.stalled(now) for flight in self.flying)

    def sample(self, now: float) -> None:
        """Have its lanes judged by what came.

        Between trials only flights that deliver count: what a lane brings while it waits for a first byte is not what
        it can.
        """
        delivering = sum(1 for flight in self.flying if flight.delivers)
        busy = self.busy(now) if self.lanes.trying else delivering
        longest = max((seconds for at, seconds in self._lulls if at >= now - LULLS_KEPT), default=0.0)
        self.lanes.sample(now, self.delivered, busy, self.latency.mean, longest)

    def flown(self, length: int, seconds: float) -> None:
        """Take in a flight that brought *length* bytes in *seconds* after its first byte.

        Times are summed, not rates: what comes in one burst out of a buffer would count as a gigabyte
        a second. Each flight lets the earlier ones count a fifth less.
        """
        self.flights += 1
        self._seconds = self._seconds * FADE + max(seconds, SHORTEST_TIME)
        self._bytes = self._bytes * FADE + length


@dataclass(slots=True)
class SourceScore:
    """One source of one content: what it brought, how it failed, whether it may be asked now."""

    delivered: int = 0
    failures: int = 0
    strikes: int = 0
    failed_at: float = 0.0
    asked_at: float = 0.0
    """When the last of the flights that failed began."""
    retry_at: float = 0.0
    asked_to_wait_until: float = 0.0
    dropped: bool = False
    reason: str | None = None
    bad_chunks: int = 0
    bad: list[Extent] = field(default_factory=list)
    brought: ExtentSet = field(default_factory=ExtentSet)
    """Bytes in the store that are its own and not verified yet: whom to blame for them."""

    def succeeded(self) -> None:
        """Forget earlier failures: it delivers. One that was dropped meanwhile for what it sent stays so."""
        if self.dropped:
            return
        self.strikes = 0
        self.retry_at = 0.0
        self.asked_to_wait_until = 0.0
        if not self.bad_chunks:
            self.reason = None

    def failed(
        self, error: SourceError, now: float, wait: float, jitter: Callable[[], float], *, strike: bool = True
    ) -> None:
        """Note a failure: back off from *wait* seconds on, doubling at each *strike*; or drop it for a long while."""
        self.failures += 1
        self.strikes += strike
        self.failed_at = now
        self.reason = error.reason
        if isinstance(error, SourceRefused | SourceMismatch):
            self.drop(now)
        elif isinstance(error, SourceUnavailable) and error.retry_after is not None:
            self.asked_to_wait_until = self.retry_at = now + min(error.retry_after, SECOND_CHANCE)
        else:
            backoff = min(wait * 2 ** min(max(self.strikes - 1, 0), 10), LONGEST_BACKOFF)
            self.retry_at = now + backoff * (0.75 + jitter() / 2)

    def blamed(self, extent: Extent, now: float, reason: str) -> None:
        """Note that it sent wrong bytes for *extent*: never ask it for them again, and ban it the second time."""
        if extent in self.bad:
            return
        self.bad_chunks += 1
        self.bad.append(extent)
        self.reason = reason
        self.failed_at = now
        if self.bad_chunks >= BAD_CHUNKS_TO_BAN:
            self.drop(now)

    def give_up(self, now: float, seconds: float) -> None:
        """Ask it for *seconds* only what a reader waits for."""
        self.retry_at = max(self.retry_at, now + seconds)

    def drop(self, now: float) -> None:
        """Do not use it for a long while."""
        self.dropped = True
        self.retry_at = now + SECOND_CHANCE

    def ready(self, now: float) -> bool:
        """Say whether it may be asked for something nobody waits for."""
        return now >= self.retry_at

    def ready_for_read(self, now: float, wait: float) -> bool:
        """Say whether it may be asked by a reader: sooner than in the background, but not at once again."""
        if self.dropped or now < self.asked_to_wait_until:
            return now >= self.retry_at
        return self.strikes == 0 or now >= min(self.retry_at, self.failed_at + wait)
