"""Idle connections, kept per origin for the next request.

Law: only a connection whose last answer was read to its end, byte for byte, comes in; whatever is odd is
closed. All verbs are synchronous, so no task ever sees the pool half changed. Knows no HTTP.
"""

from collections import deque

from mountdl.sources.http.connection import Connection, Origin

BUFFER_LENGTH = 1 << 18
"""256 KiB: from there on larger reads bring nothing (measured 64K/256K/1M: 0.93/1.00/0.88)."""

_SPARE_BUFFERS = 16


class Buffers:
    """Read buffers, used again: a fresh 256 KiB costs 64 page faults, an idle connection needs none."""

    def __init__(self) -> None:
        self._spare: list[bytearray] = []

    def take(self) -> bytearray:
        """Return a buffer of `BUFFER_LENGTH` bytes whose content means nothing."""
        return self._spare.pop() if self._spare else bytearray(BUFFER_LENGTH)

    def give(self, buffer: bytearray) -> None:
        """Take *buffer* back; no view of it may be in use any more."""
        if len(self._spare) < _SPARE_BUFFERS:
            self._spare.append(buffer)


class Pool:
    """Idle connections: at most *per_origin* of one origin, *altogether* of all, *patience* seconds each."""

    def __init__(self, per_origin: int = 8, altogether: int = 64, patience: float = 30.0) -> None:
        self._per_origin = per_origin
        self._altogether = altogether
        self._patience = patience
        # Invariant: oldest first in each; an origin without connections has no entry.
        self._idle: dict[Origin, deque[Connection]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def has(self, origin: Origin) -> bool:
        """Say whether a connection to *origin* is there."""
        return origin in self._idle

    def unused(self) -> int:
        """How many connections never carried a request."""
        return sum(not connection.used for idle in self._idle.values() for connection in idle)

    def take(self, origin: Origin, now: float) -> Connection | None:
        """Return the connection to *origin* that was used last and still looks alive; an unused one only without it.

        One that carried an answer has its window open; one that was only dialled has it still to earn.
        """
        while origin in self._idle:
            connection = self._pop(origin, youngest=True)
            if now - connection.idle_since < self._patience and connection.quiet():
                return connection
            connection.close()
        return None

    def give(self, connection: Connection, now: float) -> None:
        """Keep *connection* for a later request, or close it when there are enough."""
        idle = self._idle.get(connection.origin, ())
        if self._count >= self._altogether or len(idle) >= self._per_origin:
            connection.close()
            return
        connection.idle_since = now
        self._idle.setdefault(connection.origin, deque()).append(connection)
        self._count += 1

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long."""
        for origin in list(self._idle):
            while origin in self._idle and now - self._idle[origin][0].idle_since >= self._patience:
                self._pop(origin, youngest=False).close()

    def close(self) -> None:
        """Close all."""
        for origin in list(self._idle):
            while origin in self._idle:
                self._pop(origin, youngest=True).close()

    def _pop(self, origin: Origin, *, youngest: bool) -> Connection:
        idle = self._idle[origin]
        place = 0
        if youngest:
            used = (place for place in reversed(range(len(idle))) if idle[place].used)
            place = next(used, len(idle) - 1)
        connection = idle[place]
        del idle[place]
        if not idle:
            del self._idle[origin]
        self._count -= 1
        return connection
