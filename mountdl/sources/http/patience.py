"""How long each phase of an exchange may take, and when a body counts as too slow.

Pure: times are arguments.
"""

from dataclasses import dataclass

from mountdl.settings import HttpSettings


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for each phase; *rate* in bytes a second is the least that counts as alive over *window* seconds.

    *connect* bounds TCP and TLS each, *head* the time from the request to the whole head, *silence* the
    time between two bytes of a body.
    """

    connect: float = 15.0
    head: float = 10.0
    silence: float = 10.0
    rate: float = 100.0
    window: float = 10.0

    @classmethod
    def of(cls, settings: HttpSettings) -> "Patience":
        """Return what *settings* ask for."""
        return cls(
            connect=settings.connect_timeout,
            head=settings.stall_timeout,
            silence=settings.stall_timeout,
            rate=settings.lowest_rate,
        )


class Pace:
    """Judges the rate of one body. Silence alone would never catch a server that drips a byte a second."""

    __slots__ = ("_count", "_patience", "_since")

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._since = now
        self._count = 0

    def came(self, count: int) -> None:
        """Note that *count* bytes came."""
        self._count += count

    def rested(self, seconds: float) -> None:
        """Note that for *seconds* nothing was received because we did not want to."""
        self._since += seconds

    def too_slow(self, now: float) -> bool:
        """Say whether the window that ends at *now* brought too little; opens the next one."""
        elapsed = now - self._since
        if elapsed < self._patience.window:
            return False
        slow = self._count < self._patience.rate * elapsed
        self._since, self._count = now, 0
        return slow
