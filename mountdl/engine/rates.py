"""How long to wait before more is received, where rates are limited.

Pure functions of time. Law: over any second or more no more than the limit comes in, but for what was on its way;
a file gets its fair share of what all may have, and what one does not use is the others'; who is waited for goes
before who is not. What does the waiting is the flights' business.
"""

from collections.abc import Hashable

BURST = 0.1
"""Seconds of unused rate that are not lost: a mirror's pauses of that length cost nothing."""
ACTIVE = 1.0
"""Seconds since it last asked for which a file counts as one that shares."""
LONGEST_PAUSE = 0.1
"""Seconds after which to ask again: shares change as files come and go."""


class Bucket:
    """Lets *rate* bytes a second through; what went beyond is waited for afterwards."""

    __slots__ = ("_due", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._due = float("-inf")

    def take(self, length: int, now: float) -> None:
        """Take in that *length* bytes came."""
        self._due = max(self._due, now - BURST) + length / self.rate

    def wait(self, now: float) -> float:
        """Return the seconds until more may come."""
        return max(0.0, self._due - now)


class _Share:
    """What one file took: of its own limit, and of the limit of all."""

    __slots__ = ("asked", "own", "part")

    def __init__(self, own: float, overall: float) -> None:
        self.asked = float("-inf")
        self.own = Bucket(own) if own else None
        self.part = Bucket(overall)


class Rates:
    """Limits in bytes a second, of each file and *overall*; 0 is none."""

    def __init__(self, each: float = 0.0, overall: float = 0.0) -> None:
        self._each, self._overall = each, Bucket(overall) if overall else None
        self._own: dict[Hashable, float] = {}
        self._shares: dict[Hashable, _Share] = {}

    def change(self, each: float | None, overall: float | None) -> None:
        """Let other limits hold from now on; None: the one that there is."""
        if each is not None:
            self._each = each
        if overall is not None:
            self._overall = Bucket(overall) if overall else None
        self._shares.clear()

    def change_one(self, key: Hashable, rate: float) -> None:
        """Let the file *key* have a limit of its own from now on in place of that of each; 0 is none."""
        self._own[key] = rate
        self._shares.pop(key, None)

    def __bool__(self) -> bool:
        return bool(self._each or self._overall or self._own)

    def took(self, key: Hashable, length: int, now: float) -> None:
        """Take in that *length* bytes of the file *key* came."""
        if not self:
            return
        share = self._share(key)
        if share.own is not None:
            share.own.take(length, now)
        if self._overall is not None:
            self._overall.take(length, now)
            sharing = sum(1 for each in self._shares.values() if now - each.asked <= ACTIVE)
            share.part.rate = self._overall.rate / max(1, sharing)
            share.part.take(length, now)

    def pause(self, key: Hashable, now: float, *, urgent: bool, crowd: bool, awaited: bool = False) -> float:
        """Return the seconds until file *key* may receive more; then ask again, for it may have to wait on.

        *urgent*: a reader waits for these bytes; *awaited*: one waits for others of this file; *crowd*: readers
        wait somewhere.
        """
        if not self:
            return 0.0
        share = self._share(key)
        share.asked = now
        wait = share.own.wait(now) if share.own is not None else 0.0
        if share.own is not None and awaited and not urgent:
            wait = max(wait, LONGEST_PAUSE / 2)
        if self._overall is not None and (general := self._overall.wait(now)) > 0:
            wait = max(wait, general, share.part.wait(now))
        elif self._overall is not None and crowd and not urgent:
            wait = max(wait, LONGEST_PAUSE / 2)
        return min(wait, LONGEST_PAUSE)

    def enough(self, length: int, seconds: float) -> str | None:
        """Return a sentence about the limit by which *length* bytes can't come in *seconds*; None if they can."""
        limits = [("--max-download-limit", self._each)]
        if self._overall is not None:
            limits.append(("--max-overall-download-limit", self._overall.rate))
        option, rate = min((each for each in limits if each[1]), key=lambda each: each[1], default=("", 0.0))
        if not rate or length <= rate * seconds:
            return None
        return (
            f"{option}={rate:.0f} lets {rate * seconds:.0f} bytes through in {seconds:g} s, and {length} that are "
            "verified together were needed: raise it or --read-timeout"
        )

    def forget(self, key: Hashable) -> None:
        """Drop what is kept about *key*."""
        self._shares.pop(key, None)

    def _share(self, key: Hashable) -> _Share:
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share(
                self._own.get(key, self._each), self._overall.rate if self._overall is not None else 1.0
            )
        return share
