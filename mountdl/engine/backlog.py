"""What `--background all` completes next. Pure: it is told the time, and who runs.

Law: contents are looked at in the order in which they are shown, a bounded number at a time, and all of them again
and again, but so slowly that a large catalog costs no more than a small one: some of what was whole may be dropped.
"""

from collections.abc import Iterable, Iterator

from mountdl.content import Outline

AT_ONCE = 2
"""Contents that are completed side by side."""
SMALL_AT_ONCE = 8
"""As many where together they are small: two files of 20 KB keep no line busy, and order matters to nobody there."""
SMALL = 1 << 20
STEP = 0.1
"""Seconds between two looks while there may be more to do, so that 80 small files begin in a second."""
LOOKED_AT = 250
"""Contents looked at in one step; each costs two system calls, 10 us."""
REST = 1.0
"""Seconds between two rounds at least, and a millisecond for each content: a hundredth of the loop's time."""


class Backlog:
    """The contents of a mount, of which the next ones are asked for."""

    def __init__(self) -> None:
        self._contents: list[Outline] = []
        self._at = 0
        self._again = 0.0

    def renew(self, contents: Iterable[Outline]) -> None:
        """Begin from the start, with *contents*."""
        self._contents, self._at = list(contents), 0

    def step(self, now: float) -> Iterator[Outline]:
        """Yield the next few contents; the first is what no earlier step yielded."""
        if self._at >= len(self._contents) and now >= self._again:
            self._at = 0
        for _ in range(LOOKED_AT):
            if self._at >= len(self._contents):
                return
            self._at += 1
            if self._at == len(self._contents):
                self._again = now + max(REST, len(self._contents) / 1000)
            yield self._contents[self._at - 1]

    @property
    def pause(self) -> float:
        """Seconds until the next step is worth its while."""
        return STEP if self._at < len(self._contents) else REST


def roomy(running: Iterable[int]) -> bool:
    """Say whether another content may be begun beside those of so many bytes."""
    sizes = list(running)
    return len(sizes) < AT_ONCE or (len(sizes) < SMALL_AT_ONCE and sum(sizes) < SMALL)
