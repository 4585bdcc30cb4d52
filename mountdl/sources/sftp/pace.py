"""How many bytes may be on their way over one connection. Pure: it is told the time.

Law: about twice what the link carries in its shortest round trip, from 256 KiB to 16 MiB. Less leaves gaps
on the link; more only queues, and what is queued can't be called back: SFTP has no way to cancel a read.
"""

import math
from collections import deque
from dataclasses import dataclass, field

LEAST = 256 << 10
MOST = 16 << 20
GAIN = 2.0
"""Twice, so that a connection that has the link to itself finds out: 1 MiB carried 18.6 of 20 MB/s over 20 ms."""

MEMORY = 5.0
"""Seconds after which the best rate is forgotten."""

TRUST = 10.0
"""Seconds for which the shortest round trip is believed.

Then less is sent until one was measured anew without a queue of our own (as BBR does): what is
measured through the queue would make the queue twice as long, again and again.
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request for *length* bytes: when it went, how many bytes had come by then, and if no queue was before it."""

    length: int
    at: float
    delivered: int
    alone: bool


@dataclass(slots=True)
class Pace:
    """What is on its way, and what may be."""

    outstanding: int = 0
    _delivered: int = 0
    _rates: deque[tuple[float, float]] = field(default_factory=deque)
    _trip: float = math.inf
    _trip_at: float = 0.0
    _doubted: bool = False

    @property
    def window(self) -> int:
        """Bytes that may be on their way at once."""
        if not self._rates:
            return LEAST * 2
        gain = GAIN if not self._doubted else 0.5
        return int(min(MOST, max(LEAST, gain * self.rate * self._trip)))

    @property
    def rate(self) -> float:
        """Bytes a second at best of late; 0 where nothing came."""
        return max((value for _, value in self._rates), default=0.0)

    def admits(self, length: int) -> bool:
        """Say whether a request for *length* bytes may go now. One may go always."""
        return self.outstanding == 0 or self.outstanding + length <= self.window

    def sent(self, length: int, now: float) -> Sent:
        """Take in that a request for *length* bytes goes."""
        alone = self.outstanding == 0 or self.outstanding <= self.rate * self._trip / 2
        self.outstanding += length
        return Sent(length, now, self._delivered, alone)

    def came(self, sent: Sent, now: float) -> None:
        """Take in that all bytes of *sent* are here."""
        self.outstanding -= sent.length
        self._delivered += sent.length
        trip = max(now - sent.at, 1e-6)
        _note(self._rates, now, (self._delivered - sent.delivered) / trip)
        self._doubted = now - self._trip_at > TRUST
        if trip <= self._trip or (self._doubted and sent.alone):
            self._trip, self._trip_at, self._doubted = trip, now, False

    def failed(self, sent: Sent) -> None:
        """Take in that *sent* brings nothing."""
        self.outstanding -= sent.length


def _note(kept: deque[tuple[float, float]], now: float, value: float) -> None:
    """Keep *value*: a queue whose first is the best of the last seconds, each later one worse than those before."""
    while kept and kept[-1][1] <= value:
        kept.pop()
    kept.append((now, value))
    while kept[0][0] < now - MEMORY:
        kept.popleft()
