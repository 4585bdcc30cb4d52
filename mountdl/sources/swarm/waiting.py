"""Who waits for which piece, what is read back for them, and pieces read a moment ago. Knows no libtorrent.

Law: a piece goes to whoever waits for it as soon as it is here, in whatever order pieces come.
"""

from collections import OrderedDict, deque
from collections.abc import Container, Iterable
from typing import Protocol

import trio

from mountdl.errors import SourceError

REMEMBERED = 16 << 20
"""Bytes of pieces that are kept for the next flight, or one piece."""
READ_AT_ONCE = 8 << 20
"""Bytes of pieces, or one piece, that are read back at a time: memory holds them until they are handed over."""


class Placed(Protocol):
    """A file that pieces are wanted of."""

    @property
    def placed(self) -> bool:
        """Whether pieces are written where they are to be in the end, so that nobody has to be handed their bytes."""


class Order:
    """The pieces of *file* that one flight waits for; *left*: those that it was not told of yet."""

    def __init__(self, pieces: Iterable[int], file: Placed) -> None:
        self.left = set(pieces)
        self.file = file
        self._came: deque[tuple[int, bytes | None]] = deque()
        self._error: SourceError | None = None
        self._event = trio.Event()

    def bring(self, piece: int, data: bytes | None) -> None:
        """Hand *piece* over; None: it is where it is to be."""
        if piece in self.left:
            self.left.remove(piece)
            self._came.append((piece, data))
            self._event.set()

    def fail(self, error: SourceError) -> None:
        """Have `next` raise *error* once it has given what came."""
        self._error = error
        self._event.set()

    def __bool__(self) -> bool:
        return bool(self.left or self._came)

    async def next(self) -> tuple[int, bytes | None]:
        """Return a piece and its bytes, None for one that is where it is to be.

        Raises what `fail` was called with. If cancelled, nothing is lost.
        """
        await trio.lowlevel.checkpoint()
        while not self._came:
            if self._error is not None:
                raise self._error
            self._event = trio.Event()
            await self._event.wait()
        return self._came.popleft()


class Waiting:
    """The orders for pieces of one torrent."""

    def __init__(self) -> None:
        self._orders: dict[int, list[Order]] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._remembered = 0

    def __bool__(self) -> bool:
        return bool(self._orders)

    def __contains__(self, piece: object) -> bool:
        """Say whether somebody waits for the bytes of *piece*."""
        return isinstance(piece, int) and any(not order.file.placed for order in self._orders.get(piece, ()))

    def place(self, order: Order) -> None:
        """Have *order* brought what it asks for: at once what was read a moment ago."""
        for piece in list(order.left):
            if piece in self._recent and not order.file.placed:
                order.bring(piece, self._recent[piece])
            else:
                self._orders.setdefault(piece, []).append(order)

    def withdraw(self, order: Order) -> None:
        """Bring *order* nothing any more."""
        for piece in order.left:
            orders = self._orders.get(piece, [])
            if order in orders:
                orders.remove(order)
                if not orders:
                    del self._orders[piece]

    def bring(self, piece: int, data: bytes) -> None:
        """Give the bytes of *piece* to all who wait for them, and to who asks soon."""
        self._remembered += len(data) - len(self._recent.pop(piece, b""))
        self._recent[piece] = data
        while self._remembered > REMEMBERED and len(self._recent) > 1:
            self._remembered -= len(self._recent.popitem(last=False)[1])
        self._hand(piece, data, placed=False)

    def file(self, piece: int) -> None:
        """Tell those who wait for *piece* of a file that is placed that it is there."""
        self._hand(piece, None, placed=True)

    def _hand(self, piece: int, data: bytes | None, *, placed: bool) -> None:
        orders = self._orders.pop(piece, [])
        others = [order for order in orders if order.file.placed is not placed]
        if others:
            self._orders[piece] = others
        for order in orders:
            if order.file.placed is placed:
                order.bring(piece, data)

    def fail(self, piece: int, error: SourceError) -> None:
        """Have all who wait for *piece* raise *error*."""
        for order in self._orders.pop(piece, ()):
            order.fail(error)

    def fail_all(self, error: SourceError) -> None:
        """Have all who wait raise *error*."""
        for piece in tuple(self._orders):
            self.fail(piece, error)

    def forget(self) -> None:
        """Keep no bytes: nobody will want them again soon."""
        self._recent.clear()
        self._remembered = 0


class ReadingBack:
    """Pieces of *length* bytes to be read back, few at a time: the urgent first, else the first first."""

    def __init__(self, length: int) -> None:
        self._most = max(1, READ_AT_ONCE // max(1, length))
        self._queue: OrderedDict[int, None] = OrderedDict()
        self._under_way: set[int] = set()

    def add(self, piece: int) -> None:
        """Have *piece* read, unless it is being read."""
        if piece not in self._under_way:
            self._queue[piece] = None

    def hurry(self, pieces: Iterable[int]) -> None:
        """Have those of *pieces* that are to be read read before others."""
        for piece in pieces:
            if piece in self._queue:
                self._queue.move_to_end(piece, last=False)

    def begin(self, wanted: Container[int]) -> list[int]:
        """Return those to be read now; what is not *wanted* any more is let go."""
        begun = []
        while self._queue and len(self._under_way) < self._most:
            piece, _ = self._queue.popitem(last=False)
            if piece in wanted:
                self._under_way.add(piece)
                begun.append(piece)
        return begun

    def ended(self, piece: int) -> None:
        """Take in that *piece* was read, or can't be."""
        self._under_way.discard(piece)
