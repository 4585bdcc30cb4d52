"""What all downloads share: whether a reader waits anywhere, what arrives how fast, and freed lanes.

Pure but for the clock that callers pass in. A *key* is a content's, or stands for something else that comes.
"""

from collections.abc import Callable, Hashable
from math import exp

from mountdl.engine.rates import Rates

QUIET = 1.0
"""Seconds without a waiting reader before background work goes on."""
MEMORY = 3.0
"""Seconds over which a rate is averaged."""
SILENCE = 3 * MEMORY
"""Seconds without a byte after which there is no rate: the average of 100 MB/s takes a minute to be less than 1 B/s."""


class Meter:
    """A rate in bytes a second, weighted towards the last `MEMORY` seconds."""

    __slots__ = ("_at", "_rate")

    def __init__(self) -> None:
        self._rate = 0.0
        self._at = 0.0

    def add(self, length: int, now: float) -> None:
        """Take in that *length* bytes arrived."""
        self._rate = self.rate(now) + length / MEMORY
        self._at = now

    def rate(self, now: float) -> float:
        """Return the rate; 0 once nothing arrived for `SILENCE`."""
        silent = now - self._at
        return self._rate * exp(-silent / MEMORY) if self._rate and silent < SILENCE else 0.0


class Traffic:
    """Shared by all downloads of one engine. *freed* is called when a lane to some host is free again.

    *rates* are what the user allows.
    """

    def __init__(self, freed: Callable[[], None], rates: Rates | None = None) -> None:
        self.freed = freed
        self._rates = rates if rates is not None else Rates()
        self._waiting = 0
        self._last_read = float("-inf")
        self._meters: dict[Hashable, Meter] = {}

    def reading(self, more: int, now: float) -> None:
        """Take in that *more* (1 or -1) readers wait."""
        self._waiting += more
        self._last_read = now

    def quiet(self, now: float) -> bool:
        """Say whether no reader waits, nor did a moment ago: background work may go on."""
        return self._waiting == 0 and now - self._last_read >= QUIET

    def received(self, key: Hashable, length: int, now: float) -> None:
        """Take in that *length* bytes of *key* arrived."""
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter()
        meter.add(length, now)
        self._rates.took(key, length, now)

    def pause(self, key: Hashable, now: float, urgent: Callable[[], bool], *, awaited: bool) -> float:
        """Return the seconds until more of *key* may be received.

        *urgent* tells whether a reader waits for it; *awaited*: readers wait for bytes of *key*, these or others.
        """
        if not self._rates:
            return 0.0
        return self._rates.pause(key, now, urgent=urgent(), crowd=self._waiting > 0, awaited=awaited)

    def limit(self, each: float | None, overall: float | None) -> None:
        """Change the user's limits, in bytes a second: 0 is none, None no change."""
        self._rates.change(each, overall)

    def limit_one(self, key: Hashable, rate: float) -> None:
        """Change the limit of one content, in bytes a second; 0 is none."""
        self._rates.change_one(key, rate)

    def enough(self, length: int, seconds: float) -> str | None:
        """Say why *length* bytes can't come within *seconds*: the user's limits. None when they can."""
        return self._rates.enough(length, seconds)

    def rate(self, key: Hashable, now: float) -> float:
        """Return the bytes a second that arrive of *key*."""
        meter = self._meters.get(key)
        return meter.rate(now) if meter else 0.0

    def forget(self, key: Hashable) -> None:
        """Drop what is kept about *key*."""
        self._meters.pop(key, None)
        self._rates.forget(key)
