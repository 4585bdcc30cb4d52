"""What of a torrent is wanted, and how urgently: piece priorities and deadlines. Pure.

Law: while somebody may want more, something is wanted that is not here: a torrent that has all it wants says so to
its peers, they part, and the next read waits for new connections. What mirrors bring is not wanted of a swarm.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mountdl.priorities import Priority

KEPT = 32
"""Pieces wanted though nobody asked for them, so that peers stay. The last ones: readers come there last."""
KEPT_BESIDE_MIRRORS = 4
"""As many where mirrors may bring them sooner."""
SPACING_MS = 50
"""Milliseconds between the deadlines of pieces in a row; no other spacing from 0 to 1000 was better."""
AHEAD_MS = 2000
"""Milliseconds that what is wanted ahead of a reader comes after what one waits for."""
NOT_WANTED, WANTED, SOON = 0, 1, 7


@dataclass(frozen=True, slots=True)
class Lacking:
    """The *pieces* that a file in use still lacks; *eager*: all of it is to come in idle bandwidth."""

    pieces: Sequence[int]
    eager: bool
    mirrored: bool


class Wants:
    """Who wants which pieces: each piece its most urgent priority."""

    def __init__(self) -> None:
        self._by_piece: dict[int, list[Priority]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_piece)

    def __contains__(self, piece: int) -> bool:
        return piece in self._by_piece

    def add(self, pieces: Iterable[int], priority: Priority) -> None:
        """Note that *pieces* are wanted once more."""
        for piece in pieces:
            self._by_piece.setdefault(piece, []).append(priority)

    def remove(self, pieces: Iterable[int], priority: Priority) -> list[int]:
        """Undo an `add`; return the pieces that nobody wants any more."""
        left = []
        for piece in pieces:
            given = self._by_piece[piece]
            given.remove(priority)
            if not given:
                del self._by_piece[piece]
                left.append(piece)
        return left

    def deadlines(self, here: Sequence[int]) -> list[tuple[int, int]]:
        """Return the deadlines, in milliseconds, of what is wanted soon and not *here*, the most urgent first."""
        urgent = sorted((min(each), piece) for piece, each in self._by_piece.items() if not here[piece])
        soon = [(piece, priority) for priority, piece in urgent if priority is not Priority.BACKGROUND]
        return [
            (piece, place * SPACING_MS + (AHEAD_MS if priority is Priority.READAHEAD else 0))
            for place, (piece, priority) in enumerate(soon)
        ]

    def priorities(self, count: int, files: Iterable[Lacking], here: Sequence[int]) -> list[int]:
        """Return the priority of each of *count* pieces; *files* are those in use.

        Of what is wanted in the background all has one priority: then libtorrent takes the rarest first.
        """
        found = [NOT_WANTED] * count
        for file in files:
            lacking = [piece for piece in file.pieces if not here[piece]]
            kept = KEPT_BESIDE_MIRRORS if file.mirrored else len(lacking) if file.eager else KEPT
            for piece in lacking[-kept:]:
                found[piece] = WANTED
        for piece, each in self._by_piece.items():
            found[piece] = WANTED if min(each) is Priority.BACKGROUND else SOON
        return found
