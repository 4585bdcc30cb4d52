"""Who waits for which piece, and pieces read a moment ago: several flights may share one. Knows no libtorrent."""

from collections import OrderedDict

import trio

from mountdl.errors import SourceError

REMEMBERED = 16 << 20
"""Bytes of pieces that are kept for the next flight, or one piece."""


class _Waiter:
    __slots__ = ("data", "error", "event")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.data = b""
        self.error: SourceError | None = None


class Waiting:
    """The waiters of one torrent, by piece."""

    def __init__(self) -> None:
        self._waiters: dict[int, list[_Waiter]] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._remembered = 0

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def __contains__(self, piece: int) -> bool:
        return piece in self._waiters

    def pieces(self) -> tuple[int, ...]:
        """Return the pieces that somebody waits for."""
        return tuple(self._waiters)

    def recent(self, piece: int) -> bytes | None:
        """Return the bytes of *piece* if they were brought a moment ago."""
        return self._recent.get(piece)

    async def wait(self, piece: int) -> bytes:
        """Return the bytes of *piece* once they are brought. Raises what `fail` is called with."""
        waiter = _Waiter()
        self._waiters.setdefault(piece, []).append(waiter)
        try:
            await waiter.event.wait()
        finally:
            waiters = self._waiters.get(piece, [])
            if waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[piece]
        if waiter.error is not None:
            raise waiter.error
        return waiter.data

    def bring(self, piece: int, data: bytes) -> None:
        """Give the bytes of *piece* to all who wait for it."""
        if self._recent.pop(piece, None) is not None:
            self._remembered -= len(data)
        self._recent[piece] = data
        self._remembered += len(data)
        while self._remembered > REMEMBERED and len(self._recent) > 1:
            self._remembered -= len(self._recent.popitem(last=False)[1])
        for waiter in self._waiters.pop(piece, ()):
            waiter.data = data
            waiter.event.set()

    def fail(self, piece: int, error: SourceError) -> None:
        """Have all who wait for *piece* raise *error*."""
        for waiter in self._waiters.pop(piece, ()):
            waiter.error = error
            waiter.event.set()

    def fail_all(self, error: SourceError) -> None:
        """Have all who wait raise *error*."""
        for piece in self.pieces():
            self.fail(piece, error)

    def forget(self) -> None:
        """Keep no bytes: nobody will want them again soon."""
        self._recent.clear()
        self._remembered = 0
