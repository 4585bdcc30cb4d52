"""What is asked of one torrent, by whom, and what libtorrent has to know of that."""

from collections.abc import Iterable, Sequence
from itertools import chain

from mountdl.priorities import Priority
from mountdl.sources.swarm.holdings import Inventory, Member, unasked, whole, window
from mountdl.sources.swarm.layout import Layout
from mountdl.sources.swarm.stay import TRICKLE, Stay
from mountdl.sources.swarm.waiting import Order, Waiting
from mountdl.sources.swarm.wants import NOT_WANTED, WANTED, Wants


class Asking:
    """The wants of those who use the files of *inventory*; true while there are any.

    They outlive a stay: what is asked for is told again in the next.
    """

    def __init__(self, layout: Layout, inventory: Inventory) -> None:
        self.waiting = Waiting()
        self._layout, self._inventory = layout, inventory
        self._wants = Wants()

    def __bool__(self) -> bool:
        return bool(self._wants)

    def __contains__(self, piece: int) -> bool:
        return piece in self._wants

    @property
    def urgent(self) -> bool:
        """Whether anything is wanted for a reader."""
        return self._wants.urgent

    def add(self, member: Member, pieces: Sequence[int], priority: Priority) -> None:
        """Note that *pieces* of *member* are wanted once more."""
        self._wants.add(pieces, priority)
        if pieces and priority is not Priority.BACKGROUND:
            member.ahead = pieces[-1] + 1

    def tell(self, stay: Stay, member: Member, pieces: Sequence[int], priority: Priority) -> bool:
        """Have libtorrent know what was added; say whether it is to fetch anything."""
        if priority is Priority.READ:
            stay.reading.hurry(pieces)
        wanted = dict(window(self._layout, member, stay.closed))
        wanted.update((piece, self._wants.priority(piece)) for piece in pieces if not stay.closed[piece])
        stay.tell(stay.told.more(wanted), self._wants)
        return bool(wanted)

    def remove(self, pieces: Iterable[int], priority: Priority) -> list[int]:
        """Undo an `add`; return the pieces that nobody wants any more."""
        return self._wants.remove(pieces, priority)

    def delivered(self, stay: Stay | None, piece: int, priority: Priority) -> None:
        """Undo an `add` of *piece*, which has come."""
        left = self.remove([piece], priority)
        if stay is not None and not stay.closed[piece]:  # it began after that had come
            self.lower(stay, left)

    def lower(self, stay: Stay, pieces: Iterable[int]) -> None:
        """Have libtorrent know that nobody wants *pieces* any more."""
        if stay.handle is None:
            return
        for piece in pieces:
            if not stay.closed[piece]:  # to take a deadline back gives a piece a priority, as to set one does
                stay.handle.reset_piece_deadline(piece)
                stay.told.lowered(piece)
        if self.mirrored:
            self.reprioritize(stay)
        elif not self._wants:
            stay.handle.set_download_limit(TRICKLE)

    def order(self, stay: Stay | None, pieces: range, member: Member) -> Order:
        """See `Swarm.order`."""
        order = Order(pieces, member)
        self.waiting.place(order)
        if stay is not None:
            for piece in pieces:
                if stay.here[piece] and piece in order.left:
                    self.here(stay, piece)
        return order

    def here(self, stay: Stay, piece: int) -> None:
        """Tell those who wait for *piece*, which is here, or have it read for them."""
        self.waiting.file(piece)
        if piece in self.waiting:
            stay.reading.add(piece)
            stay.read_back(self.waiting)

    def begin(self, stay: Stay) -> list[int]:
        """Return the priorities of all pieces, which libtorrent will know when *stay* begins."""
        wanted = self._priorities(stay)
        stay.told.all(wanted)
        return [wanted.get(piece, NOT_WANTED) for piece in range(self._layout.count)]

    def reprioritize(self, stay: Stay) -> None:
        """Have libtorrent know what is wanted now, of all that it could fetch."""
        stay.tell(stay.told.all(self._priorities(stay)), self._wants)

    def _priorities(self, stay: Stay) -> dict[int, int]:
        members = [member for member in self._inventory.members if not whole(member)]  # of many small files most are
        rest = (unasked(self._layout, member, stay.closed) for member in members)
        wanted = dict.fromkeys(chain.from_iterable(rest), WANTED)
        for member in members:
            wanted.update(window(self._layout, member, stay.closed))
        wanted.update(self._wants.priorities(stay.closed))
        return wanted

    @property
    def mirrored(self) -> bool:
        """Whether mirrors bring some of it too."""
        return any(member.mirrored for member in self._inventory.members)
