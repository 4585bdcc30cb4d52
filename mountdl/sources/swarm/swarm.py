"""One torrent: fetched from its peers while somebody wants of it, given to them from the store otherwise.

Law: while it fetches, libtorrent writes a folder of its own that goes when it is done; while it only gives, it reads
the store's data files and wants nothing, so that it writes nothing. It never does both at a time. Only what the store
calls verified is offered.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import trio

from mountdl.descriptors.model import Torrent
from mountdl.errors import SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm import adding, alerts
from mountdl.sources.swarm.alerts import Alert
from mountdl.sources.swarm.giving import Giving
from mountdl.sources.swarm.holdings import Inventory, Member, held, unasked, window
from mountdl.sources.swarm.layout import Layout
from mountdl.sources.swarm.modes import Mode, fetched_enough
from mountdl.sources.swarm.offering import Offering
from mountdl.sources.swarm.scratch import discard
from mountdl.sources.swarm.session import Session
from mountdl.sources.swarm.waiting import Order, ReadingBack, Waiting
from mountdl.sources.swarm.wants import WANTED, Told, Wants

log = logging.getLogger(__name__)

REFRESH = 10.0
"""Seconds between two looks whether more can be offered than is."""
TRICKLE = 16384
"""Bytes a second while nobody wants anything for a moment: peers stay, and hardly anything is fetched."""
MOST_PEERS = 100
"""Addresses kept of peers that answered, to find them again at once."""


class Swarm:
    """The peers of *torrent*.

    *folder* makes an empty folder to fetch into, of about *aside* bytes at most; *work* does something in a thread.
    """

    def __init__(
        self,
        torrent: Torrent,
        session: Session,
        settings: SwarmSettings,
        folder: Callable[[], Path],
        work: Callable[[Callable[[], None]], None],
        aside: int,
    ) -> None:
        self.torrent, self.layout = torrent, Layout(torrent)
        self.peers: dict[str, None] = {}
        self.trackers: dict[str, None] = {}
        self.connected = self.seeds = 0
        self.uploaded = 0
        self.trouble = ""
        self.progressed_at = trio.current_time()
        self.mode = Mode.AWAY
        self._session, self._settings, self._folder, self._work = session, settings, folder, work
        self._most_aside = max(1, aside // max(1, torrent.piece_length))
        self._handle: alerts.Handle | None = None
        self._pending = self._outdated = False
        self._scratch: Path | None = None
        self._inventory = Inventory(self.layout)
        self._wants, self._waiting = Wants(), Waiting()
        self._reading = ReadingBack(self.layout.length)
        self._offering = Offering(self.layout, self._most_aside // 2)
        self._told = Told()
        self._here = bytearray(self.layout.count)
        self._offered = 0
        self._downloaded = self._uploaded_now = 0
        self._finished = False
        self._idle_since = self._looked_at = trio.current_time()
        self._giving = Giving(settings)
        self._decoys = 0

    # -- who uses it ----------------------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """Take in that *member* is in use: find peers, unless all of it is here."""
        self._inventory.members.append(member)
        self._idle_since = trio.current_time()
        if not member.holdings.verified.covers(Extent(0, member.file.size)):
            self._enter(Mode.FETCHING)
        self._reprioritize()

    def leave(self, member: Member) -> None:
        """Take in that *member* is in use no more; what is here of it may still be given to others."""
        if self._inventory.leave(member):
            self._reprioritize()

    def forget(self, key: str) -> bool:
        """Offer nothing any more of content *key*: its bytes go. Say whether it is one of this torrent's."""
        mine = self._inventory.forget(key)
        if mine and self.mode is Mode.GIVING:
            self._outdated = self._pending
            self._enter(Mode.AWAY)
        return mine

    @property
    def idle(self) -> bool:
        """Whether nobody uses it and it is not in the session."""
        return not self._inventory.members and self.mode is Mode.AWAY and self._handle is None and not self._pending

    @property
    def lasting(self) -> bool:
        """Whether it is worth keeping though nobody uses it: there may be something to give."""
        return bool(self._inventory) and self._gives(trio.current_time())

    @property
    def ready(self) -> bool:
        """Whether it can be expected to deliver: it fetches, and peers are connected."""
        return self.mode is Mode.FETCHING and self.connected > 0

    # -- fetching -------------------------------------------------------------------------------------------

    def want(self, member: Member, pieces: Sequence[int], priority: Priority) -> None:
        """Have *pieces* of *member* fetched with *priority* until `unwant` is called with the same."""
        self._wants.add(pieces, priority)
        self._enter(Mode.FETCHING)
        if pieces and priority is not Priority.BACKGROUND:
            member.ahead = pieces[-1] + 1
        if priority is Priority.READ:
            self._reading.hurry(pieces)
        if self._handle is None or self.mode is not Mode.FETCHING:
            return  # all that is wanted by then is told once it is added
        wanted = dict(window(self.layout, member, self._here))
        wanted.update((piece, self._wants.priority(piece)) for piece in pieces if not self._here[piece])
        self._tell(self._handle, self._told.more(wanted))
        if self._finished and wanted:
            self._find_peers_again()

    def unwant(self, pieces: Iterable[int], priority: Priority) -> None:
        """Undo a `want`."""
        left = [piece for piece in self._wants.remove(pieces, priority) if not self._here[piece]]
        if not self._wants:
            self._idle_since = trio.current_time()
        if self._handle is None or self.mode is not Mode.FETCHING or not self._session.started:
            return
        for piece in left:
            self._handle.reset_piece_deadline(piece)
            self._told.lowered(piece)
        if self._mirrored:
            self._reprioritize()
        elif not self._wants:
            self._handle.set_download_limit(TRICKLE)

    def order(self, pieces: range) -> Order:
        """Return an order for *pieces*, which are wanted, that they are brought to once they came and were checked."""
        order = Order(pieces)
        self._waiting.place(order)
        for piece in pieces:
            if self._here[piece] and piece in order.left:
                self._reading.add(piece)
        self._read_back()
        return order

    def withdraw(self, order: Order) -> None:
        """Bring *order* nothing any more."""
        self._waiting.withdraw(order)

    def _read_back(self) -> None:
        if self._handle is not None:
            for piece in self._reading.begin(self._waiting):
                self._handle.read_piece(piece)

    def _reprioritize(self) -> None:
        if self._handle is not None and self.mode is Mode.FETCHING:
            self._tell(self._handle, self._told.all(self._priorities()))

    def _tell(self, handle: alerts.Handle, changes: list[tuple[int, int]]) -> None:
        if changes:
            handle.prioritize_pieces(changes)
        for piece, milliseconds in self._wants.deadlines(self._here):
            handle.set_piece_deadline(piece, milliseconds, 0)
        handle.set_download_limit(-1 if self._wants else TRICKLE)

    def _priorities(self) -> dict[int, int]:
        members = self._inventory.members
        rest = (unasked(self.layout, member, self._here) for member in members)
        wanted = dict.fromkeys(chain.from_iterable(rest), WANTED)
        for member in members:
            wanted.update(window(self.layout, member, self._here))
        wanted.update(self._wants.priorities(self._here))
        return wanted

    @property
    def _mirrored(self) -> bool:
        return any(member.mirrored for member in self._inventory.members)

    def _find_peers_again(self) -> None:
        self._finished = False
        if self._handle is not None:
            self._decoys += 1
            adding.stir(self._handle, self._decoys, self.peers)

    # -- coming and going -----------------------------------------------------------------------------------

    def _enter(self, mode: Mode) -> None:
        """Be in *mode* soon: one change at a time, the last wish counts."""
        if self.mode is mode or self._pending:
            return
        self._remove()
        self.mode = mode
        if mode is not Mode.AWAY:
            self._add()

    def _remove(self) -> None:
        if self._handle is not None:
            self._session.start().remove_torrent(self._handle)
            self._handle = None
        if self._scratch is not None:
            self._work(partial(discard, self._scratch))
            self._scratch = None
        self.uploaded += self._uploaded_now
        self.connected = self.seeds = self._downloaded = self._uploaded_now = self._offered = 0
        self._here = bytearray(self.layout.count)
        self._finished = False
        self._waiting.forget()
        self._reading.clear()
        self._told = Told()
        self._offering = Offering(self.layout, self._most_aside // 2)

    def _add(self) -> None:
        try:
            atp = adding.parameters(self.torrent, self.peers, self.trackers, self._settings)
            self._scratch = self._folder()
        except (RuntimeError, OSError) as error:
            self._stand_still(f"it can't be joined: {error}")
            self.mode = Mode.AWAY
            return
        atp.save_path = str(self._scratch)
        if self.mode is Mode.GIVING:
            self._offered = adding.give(atp, self.layout, self._inventory.parts())
        else:
            wanted = self._priorities()
            self._told = Told(wanted)
            atp.piece_priorities = [wanted.get(piece, 0) for piece in range(self.layout.count)]
        self._pending, self._outdated = True, False
        self._session.start().async_add_torrent(atp)

    # -- what libtorrent tells ------------------------------------------------------------------------------

    def heard(self, alert: Alert) -> None:
        """Take *alert* in."""
        if isinstance(alert, alerts.Added):
            self._added(alert)
        elif self._handle is None or alert.handle != self._handle:
            return
        elif isinstance(alert, alerts.PieceFinished):
            self._piece_finished(alert.piece)
        elif isinstance(alert, alerts.PieceRead):
            self._piece_read(alert)
        elif isinstance(alert, alerts.Finished):
            self._finished = True
        elif isinstance(alert, alerts.Progress):
            self._progress(alert)
        elif isinstance(alert, alerts.PeerConnected):
            self._peer_connected(alert.peer)
        elif isinstance(alert, alerts.PeerBanned):
            self._remark(f"its peer {alert.peer} sent wrong bytes and was sent away")
        elif isinstance(alert, alerts.HashFailed):
            self._remark(f"piece {alert.piece} came wrong from its peers and is fetched again", logging.INFO)
        elif isinstance(alert, alerts.TrackerSaid):
            self.trouble = alert.text
        elif isinstance(alert, alerts.Failed):
            self._stand_still(alert.reason)

    def _added(self, alert: alerts.Added) -> None:
        self._pending = False
        if alert.error:
            self.mode = Mode.AWAY
            self._stand_still(f"libtorrent can't use its torrent: {alert.error}")
            return
        self._handle = alert.handle
        if self.mode is Mode.GIVING and (self._wants or self._outdated):
            self._enter(Mode.FETCHING if self._wants else Mode.AWAY)
            return
        if not adding.loadable(self.torrent):
            alert.handle.set_metadata(self.torrent.info)
        self._reprioritize()

    def _piece_finished(self, piece: int) -> None:
        if self._here[piece]:
            return
        self._here[piece] = 1
        self.progressed_at = trio.current_time()
        if piece in self._waiting:
            self._reading.add(piece)
            self._read_back()
        self._told.come(piece)
        if piece not in self._wants and self._mirrored:
            self._reprioritize()  # of those that are wanted only so that peers stay, another takes the place

    def _piece_read(self, alert: alerts.PieceRead) -> None:
        self._reading.ended(alert.piece)
        if alert.data is not None:
            self._waiting.bring(alert.piece, alert.data)
        elif alert.piece in self._waiting:
            self._waiting.fail(alert.piece, SourceUnavailable(self.name, f"can't read a piece back: {alert.error}"))
        self._read_back()

    def _progress(self, alert: alerts.Progress) -> None:
        if alert.downloaded > self._downloaded:
            self.progressed_at = trio.current_time()
        ready = self.ready
        self.connected, self.seeds = alert.peers, alert.seeds
        self._downloaded, self._uploaded_now = alert.downloaded, alert.uploaded
        if self.ready != ready:
            self._poke()

    def _peer_connected(self, peer: str) -> None:
        if len(self.peers) < MOST_PEERS:
            self.peers[peer] = None
        if not self.connected:
            self.connected = 1
            self._poke()

    def _poke(self) -> None:
        for member in self._inventory.members:
            member.audience.poke()

    def _remark(self, what: str, level: int = logging.WARNING) -> None:
        log.log(level, "%s: %s", self.name, what)
        for member in self._inventory.members:
            member.audience.remark(self.name, what)

    def _stand_still(self, reason: str) -> None:
        self.trouble = reason
        self._remark(reason)
        self._waiting.fail_all(SourceUnavailable(self.name, reason))

    @property
    def name(self) -> str:
        """For status and log."""
        known = self.torrent.info_hash_v1 or self.torrent.info_hash_v2 or b""
        return f"swarm {known.hex()}"

    # -- as time goes by ------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Stop fetching when nobody wants anything, offer what has come since, end what was given enough."""
        if self._here.count(1) > self._most_aside and self.mode is Mode.FETCHING and not self._pending:
            self._start_anew()
        if self._inventory.growing():
            self._idle_since = now
            self._enter(Mode.FETCHING)
        if self.connected > self.seeds:
            self._offer()
        if self._wants or self._pending:
            return
        if self.mode is Mode.FETCHING:
            whole = sum(self._inventory.held()) == self.layout.count
            if fetched_enough(now - self._idle_since, mirrored=self._mirrored, whole=whole):
                self._enter(Mode.GIVING if self._gives(now) else Mode.AWAY)
        elif self.mode is Mode.GIVING:
            if not self._gives(now):
                self._enter(Mode.AWAY)
            elif now - self._looked_at >= REFRESH:
                self._looked_at = now
                self._offer_more()
        elif self._gives(now):
            self._enter(Mode.GIVING)

    def _offer(self) -> None:
        """Have peers that lack something get what mirrors brought."""
        if self.mode is not Mode.FETCHING or self._handle is None or self._offering.running or not self._giving.at_all:
            return
        parts = self._inventory.parts()
        pieces = self._offering.choose(held(self.layout, parts), self._here)
        if pieces:
            self._offering.running = True
            self._work(partial(self._offering.hand_over, self._handle, parts, pieces))

    def _start_anew(self) -> None:
        """Fetch on into an empty folder: what came is handed over, and lies there a second time."""
        self._remove()
        self._add()
        self.progressed_at = trio.current_time()

    def _offer_more(self) -> None:
        if sum(self._inventory.held()) > self._offered:
            self._enter(Mode.AWAY)
            self._enter(Mode.GIVING)

    def _gives(self, now: float) -> bool:
        """Say whether to give others what is here, still."""
        here = sum(self._inventory.held()) * self.layout.length
        return self._giving.goes_on(here, self.uploaded + self._uploaded_now, now)
