"""One time that a torrent is in the session: from its adding to its removal. What is known of it goes with it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mountdl.sources.swarm.adding import stir
from mountdl.sources.swarm.alerts import Handle, Progress
from mountdl.sources.swarm.holdings import Member
from mountdl.sources.swarm.layout import Layout
from mountdl.sources.swarm.placing import Loans
from mountdl.sources.swarm.waiting import ReadingBack, Waiting
from mountdl.sources.swarm.wants import Told, Wants

PAUSE = 10.0
"""Seconds between two calls for peers that nobody waits for: some come only to part at once."""
TRICKLE = 16384
"""Bytes a second while nobody wants anything for a moment: peers stay, and hardly anything is fetched."""


class Stay:
    """The torrent in the session, once it has a *handle*.

    *folder* takes the files that it does not have by *loans*: those lie where the store keeps them.
    """

    def __init__(self, layout: Layout, folder: Path, loans: Loans) -> None:
        self.folder = folder
        self.placed = {member.file.index: member for member in loans.placed}
        self.here = bytearray(loans.have) if loans.have else bytearray(layout.count)
        self.blocked = loans.blocked
        self.closed = bytearray(self.here)
        """Pieces that are not to be fetched: those that are here, and those that are blocked."""
        for piece in loans.blocked:
            self.closed[piece] = 1
        self.offered = frozenset(part.key for part in loans.parts)
        """The contents that peers get bytes of out of the store's files."""
        self.abandoned: dict[int, Member] = {}
        """Files that were placed and are in use no more: blocks that were on their way may be written there yet."""
        self.told = Told()
        self.reading = ReadingBack(layout.length)
        self.handle: Handle | None = None
        self.outdated = False
        self.finished = False
        """Whether all that was wanted is here, so that peers part, or all peers parted for another reason."""
        self.stocked = False
        """Whether all that lacks in the store lies in the folder, as far as was seen when a reader waited."""
        self._called_at = float("-inf")
        self.aside = 0
        """Pieces that lie in the folder, or a part of them does."""
        self.connected = self.seeds = self.downloaded = self.uploaded = 0
        self._layout = layout

    def came(self, piece: int) -> list[Member]:
        """Take in that *piece* is here; return the placed files that have bytes of it."""
        self.here[piece] = self.closed[piece] = 1
        self.told.come(piece)
        sharing = self._layout.sharing(piece)
        found = [self.placed[file.index] for file in sharing if file.index in self.placed]
        self.aside += len(found) < len(sharing)
        return found

    def keep(self, members: Iterable[Member]) -> list[Member]:
        """Take in that *members* are whole, so that their files are written to no more; return them."""
        return [self.placed.pop(member.file.index) for member in list(members)]

    def abandon(self, member: Member) -> None:
        """Take in that *member*, which is not whole, is in use no more."""
        self.abandoned[member.file.index] = self.placed.pop(member.file.index)
        member.placed = False

    def end(self) -> tuple[Member, ...]:
        """Take in that it ends; return the files that may be written to until it is removed."""
        lent = (*self.placed.values(), *self.abandoned.values())
        for member in lent:
            member.placed = False
        return lent

    @property
    def in_place(self) -> bool:
        """Whether all pieces are here, where the store keeps them."""
        return not self.aside and self.here.count(1) == self._layout.count

    def tell(self, changes: Sequence[tuple[int, int]], wants: Wants) -> None:
        """Tell libtorrent of *changes* in priorities and of the deadlines of *wants*."""
        if self.handle is None:
            return
        if changes:
            self.handle.prioritize_pieces(list(changes))
        for piece, milliseconds in wants.deadlines(self.closed):
            self.handle.set_piece_deadline(piece, milliseconds, 0)
        self.handle.set_download_limit(-1 if wants else TRICKLE)

    def deserted(self, now: float) -> bool:
        """Say whether all peers parted, there is more to fetch, and it was a while ago that they were called."""
        return self.finished and not self.connected and bool(self.told) and now - self._called_at >= PAUSE

    def find_peers_again(self, peers: Iterable[str], now: float) -> None:
        """Have *peers* connected to that parted when all was here."""
        self.finished, self._called_at = False, now
        if self.handle is not None:
            stir(self.handle, peers)

    def progressed(self, alert: Progress) -> bool:
        """Take in how it stands; say whether more came."""
        more = alert.downloaded > self.downloaded
        self.finished |= self.connected > 0 and not alert.peers
        self.connected, self.seeds = alert.peers, alert.seeds
        self.downloaded, self.uploaded = alert.downloaded, alert.uploaded
        return more

    def read_back(self, waiting: Waiting) -> None:
        """Have pieces read for those who are *waiting* for their bytes, as many as are good at a time."""
        if self.handle is not None:
            for piece in self.reading.begin(waiting):
                self.handle.read_piece(piece)
