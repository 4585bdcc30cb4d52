"""What of a torrent is asked for, and how urgently: piece priorities and deadlines. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from mountdl.priorities import Priority

SPACING_MS = 50
"""Milliseconds between the deadlines of pieces in a row; no other spacing from 0 to 1000 was better."""
AHEAD_MS = 2000
"""Milliseconds that what is wanted ahead of a reader comes after what one waits for."""
NOT_WANTED, WANTED, SOON = 0, 1, 7
"""libtorrent's priorities; what comes next to a reader is between."""


class Wants:
    """Who wants which pieces: each piece its most urgent priority, and since when."""

    def __init__(self) -> None:
        self._by_piece: dict[int, list[tuple[Priority, int]]] = {}
        self._order = count()

    def __bool__(self) -> bool:
        return bool(self._by_piece)

    def __contains__(self, piece: int) -> bool:
        return piece in self._by_piece

    @property
    def urgent(self) -> bool:
        """Whether any of them is for a reader."""
        return any(min(each)[0] is not Priority.BACKGROUND for each in self._by_piece.values())

    def add(self, pieces: Iterable[int], priority: Priority) -> None:
        """Note that *pieces* are wanted once more."""
        order = next(self._order)
        for piece in pieces:
            self._by_piece.setdefault(piece, []).append((priority, order))

    def remove(self, pieces: Iterable[int], priority: Priority) -> list[int]:
        """Undo an `add`; return the pieces that nobody wants any more."""
        left = []
        for piece in pieces:
            given = self._by_piece[piece]
            given.remove(max(each for each in given if each[0] is priority))  # who stays keeps the earlier place
            if not given:
                del self._by_piece[piece]
                left.append(piece)
        return left

    def deadlines(self, here: Sequence[int]) -> list[tuple[int, int]]:
        """Return the deadlines, in milliseconds, of what is wanted soon and not *here*, the most urgent first.

        Of what is as urgent that which was wanted first: by their numbers, pieces that somebody reads on and on would
        keep all behind them waiting.
        """
        urgent = sorted((min(each), piece) for piece, each in self._by_piece.items() if not here[piece])
        soon = [(piece, priority) for (priority, _), piece in urgent if priority is not Priority.BACKGROUND]
        return [
            (piece, place * SPACING_MS + (AHEAD_MS if priority is Priority.READAHEAD else 0))
            for place, (piece, priority) in enumerate(soon)
        ]

    def priority(self, piece: int) -> int:
        """Return libtorrent's priority of *piece*, which is wanted."""
        return WANTED if min(self._by_piece[piece])[0] is Priority.BACKGROUND else SOON

    def priorities(self, here: Sequence[int]) -> dict[int, int]:
        """Return libtorrent's priority of each piece that is wanted and not *here*."""
        return {piece: self.priority(piece) for piece in self._by_piece if not here[piece]}


class Told:
    """The priorities that libtorrent was told, so that it is told changes only; true while it may fetch anything."""

    def __init__(self, wanted: Mapping[int, int] | None = None) -> None:
        self._told = dict(wanted or {})

    def __bool__(self) -> bool:
        return bool(self._told)

    def come(self, piece: int) -> None:
        """Take in that *piece* is here."""
        self._told.pop(piece, None)

    def lowered(self, piece: int) -> None:
        """Take in that *piece* lost its deadline: libtorrent wants it as any other, then."""
        self._told[piece] = WANTED

    def all(self, wanted: Mapping[int, int]) -> list[tuple[int, int]]:
        """Return what to tell so that *wanted* is all that is wanted."""
        changes = [(piece, NOT_WANTED) for piece in self._told.keys() - wanted.keys()] + self.more(wanted)
        self._told = dict(wanted)
        return changes

    def more(self, wanted: Mapping[int, int]) -> list[tuple[int, int]]:
        """Return what to tell so that *wanted* is wanted too."""
        changes = [(piece, each) for piece, each in wanted.items() if self._told.get(piece) != each]
        self._told.update(changes)
        return changes
