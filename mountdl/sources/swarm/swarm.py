"""One torrent: fetched from its peers while somebody wants of it, given to them from the store otherwise.

Law: what is verified in the store's data files is never written to. While libtorrent fetches, it writes where the
store keeps a file if that is lent to it, and else into a folder of its own that goes when it is done; while it only
gives, it reads the store's data files and wants nothing, so that it writes nothing. Only what is verified is offered.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import trio

from mountdl.descriptors.model import Torrent
from mountdl.errors import SourceUnavailable
from mountdl.priorities import Priority
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm import adding, alerts
from mountdl.sources.swarm.alerts import Alert
from mountdl.sources.swarm.asking import Asking
from mountdl.sources.swarm.giving import Giving
from mountdl.sources.swarm.holdings import Inventory, Member, whole
from mountdl.sources.swarm.layout import Layout
from mountdl.sources.swarm.modes import Mode, fetched_enough
from mountdl.sources.swarm.offering import Offering
from mountdl.sources.swarm.placing import Loans, Removals, borrow, give_back, misplaced, worth_parting
from mountdl.sources.swarm.scratch import discard
from mountdl.sources.swarm.session import Session
from mountdl.sources.swarm.stay import Stay
from mountdl.sources.swarm.vigil import Vigil
from mountdl.sources.swarm.waiting import Order

REFRESH = 10.0
"""Seconds between two looks whether more can be offered than is."""
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
        self.name = f"swarm {(torrent.info_hash_v1 or torrent.info_hash_v2 or b'').hex()}"
        self.peers: dict[str, None] = {}
        self.trackers: dict[str, None] = {}
        self.uploaded, self.trouble = 0, ""
        self.progressed_at = trio.current_time()
        self.mode, self._returning = Mode.AWAY, False
        self._session, self._settings, self._folder, self._work = session, settings, folder, work
        self._most_aside = max(1, aside // max(1, torrent.piece_length))
        self._stay: Stay | None = None
        self._removals = Removals()
        self._inventory, self._vigil = Inventory(self.layout), Vigil()
        self._asking = Asking(self.layout, self._inventory)
        self._offering = Offering(self.layout, 0)
        self._offered = 0
        self._idle_since = self._looked_at = self._began_at = self._added_at = trio.current_time()
        self._giving = Giving(settings)

    @property
    def connected(self) -> int:
        """How many peers are connected."""
        return self._stay.connected if self._stay is not None else 0

    # -- who uses it ----------------------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """Take in that *member* is in use: find peers, unless all of it is here."""
        self._inventory.members.append(member)
        self._idle_since = trio.current_time()
        if self._stay is not None and member.file.index in self._stay.abandoned:
            self._recalled()
        if not whole(member):
            self._enter(Mode.FETCHING)
        self.reprioritize()

    def leave(self, member: Member) -> None:
        """Take in that *member* is in use no more; what is here of it may still be given to others."""
        if not self._inventory.leave(member):
            return
        if member.placed and self._stay is not None:
            if whole(member):
                give_back(self._stay.keep([member]))  # nothing of it is fetched any more, but all of it offered
            elif self._inventory.members:
                self._stay.abandon(member)  # others need not lose their peers for it
            else:
                self._recalled()
        self.reprioritize()

    def forget(self, key: str) -> bool:
        """Offer nothing any more of content *key*: its bytes go. Say whether it is one of this torrent's."""
        mine = self._inventory.forget(key)
        if (mine and self.mode is Mode.GIVING) or (self._stay is not None and key in self._stay.offered):
            self._recalled()
        return mine

    def _recalled(self) -> None:
        """Let the store's files go at once; who waits is served from another folder, or from these again."""
        if self._stay is not None and self._stay.handle is None:
            self._stay.outdated = True  # it ends as soon as it began
        else:
            self._enter(Mode.AWAY)

    @property
    def idle(self) -> bool:
        """Whether nobody uses it and it is not in the session."""
        return not self._inventory.members and self.mode is Mode.AWAY and self._stay is None and not self._removals

    @property
    def lasting(self) -> bool:
        """Whether it is worth keeping though nobody uses it: there may be something to give."""
        return bool(self._inventory) and self._gives(trio.current_time())

    @property
    def ready(self) -> bool:
        """Whether it can be expected to deliver: it fetches, and peers are connected, or no longer needed."""
        return self.mode is Mode.FETCHING and self._stay is not None and (self.connected > 0 or self._stay.stocked)

    # -- fetching -------------------------------------------------------------------------------------------

    @property
    def _fetching(self) -> Stay | None:
        """The stay in which it is fetched, once libtorrent has it."""
        stay = self._stay
        return stay if stay is not None and stay.handle is not None and self.mode is Mode.FETCHING else None

    def seek(self, member: Member) -> None:
        """Take in that a reader waits for *member*, which mirrors may not bring: find peers, if there are none."""
        if whole(member) or (self.mode is Mode.FETCHING and self.connected):
            return
        self._idle_since = trio.current_time()
        self._enter(Mode.FETCHING)
        self.reprioritize()
        if (stay := self._fetching) is not None:
            stay.stocked = not stay.told

    def want(self, member: Member, pieces: Sequence[int], priority: Priority) -> None:
        """Have *pieces* of *member* fetched with *priority* until `unwant` is called with the same."""
        self._asking.add(member, pieces, priority)
        if self._stay is not None and not self._stay.blocked.isdisjoint(pieces):
            self._recalled()
        self._enter(Mode.FETCHING)
        stay = self._fetching  # else all that is wanted by then is told once there is one
        if stay is not None and self._asking.tell(stay, member, pieces, priority) and stay.finished:
            stay.find_peers_again(self.peers, trio.current_time())

    def unwant(self, pieces: Iterable[int], priority: Priority) -> None:
        """Undo a `want`."""
        left = self._asking.remove(pieces, priority)
        if not self._asking:
            self._idle_since = trio.current_time()
        if (stay := self._fetching) is not None and self._session.started:
            self._asking.lower(stay, left)

    def delivered(self, piece: int, priority: Priority) -> None:
        """Undo a `want` of *piece*, which has come."""
        self._asking.delivered(self._fetching, piece, priority)

    def order(self, pieces: range, member: Member) -> Order:
        """Return an order for *pieces* of *member*, which are wanted: it is told of each that came and was checked."""
        return self._asking.order(self._stay, pieces, member)

    def withdraw(self, order: Order) -> None:
        """Tell *order* nothing any more."""
        self._asking.waiting.withdraw(order)

    def reprioritize(self) -> None:
        """Have libtorrent know what is wanted of it now."""
        if self._fetching is not None:
            self._asking.reprioritize(self._fetching)

    # -- coming and going -----------------------------------------------------------------------------------

    def _enter(self, mode: Mode) -> None:
        """Be in *mode* soon: one change at a time, the last wish counts."""
        if self.mode is mode or (self._stay is not None and self._stay.handle is None):
            return
        if mode is Mode.FETCHING and self._removals.near(trio.current_time()):
            return  # in a moment it can be fetched to where it is to be
        self._remove()
        self.mode = mode
        if mode is Mode.FETCHING:
            self._began_at = self._began_at if self._returning else trio.current_time()
            self._returning = False
        if mode is not Mode.AWAY:
            self._add()

    def _remove(self) -> None:
        stay, self._stay = self._stay, None
        if stay is None:
            return
        placed = stay.end()
        if stay.handle is not None:
            self._session.start().remove_torrent(stay.handle)
            self._removals.begin(stay.handle, placed, trio.current_time())
        else:
            give_back(placed)
        self._work(partial(discard, stay.folder))
        self.uploaded += stay.uploaded
        self._offered = 0
        self._asking.waiting.forget()

    def _add(self) -> None:
        loans = Loans()
        try:
            atp = adding.parameters(self.torrent, self.peers, self.trackers, self._settings)
            folder = self._folder()
            atp.save_path = str(folder)
            if self.mode is Mode.FETCHING and atp.ti is not None:
                loans = borrow(self.layout, self._inventory, self._removals.busy, self._recalled)
                adding.place(atp, loans.parts, loans.have)
        except (RuntimeError, OSError) as error:
            give_back(loans.placed)
            self._stand_still(f"it can't be joined: {getattr(error, 'strerror', None) or error}")
            self.mode = Mode.AWAY
            return
        stay = self._stay = Stay(self.layout, folder, loans)
        if self.mode is Mode.GIVING:
            self._offered = adding.give(atp, self.layout, self._inventory.parts())
        else:
            atp.piece_priorities = self._asking.begin(stay)
        self._offering = Offering(self.layout, self._most_aside // 2)
        self._added_at = self.progressed_at = trio.current_time()
        self._session.start().async_add_torrent(atp)

    # -- what libtorrent tells ------------------------------------------------------------------------------

    def heard(self, alert: Alert) -> bool:
        """Take *alert* in; say whether it is of what was added here."""
        stay = self._stay
        if isinstance(alert, alerts.Removed):
            self._removals.ended(alert.handle)
            self._resume()
        elif isinstance(alert, alerts.Added):
            if stay is None or alert.folder != str(stay.folder):
                return False
            self._added(stay, alert)
        elif stay is not None and stay.handle is not None and alert.handle == stay.handle:
            self._told(stay, alert)
        return True

    def _told(self, stay: Stay, alert: Alert) -> None:
        if isinstance(alert, alerts.PieceFinished):
            self._piece_finished(stay, alert.piece)
        elif isinstance(alert, alerts.PieceRead):
            self._piece_read(stay, alert)
        elif isinstance(alert, alerts.Finished):
            stay.finished = True
        elif isinstance(alert, alerts.Progress):
            self._progress(stay, alert)
        elif isinstance(alert, alerts.PeerConnected):
            self._peer_connected(stay, alert.peer)
        elif isinstance(alert, alerts.PeerBanned):
            self._remark(f"its peer {alert.peer} was sent away: wrong bytes came in pieces that it had a part in")
        elif isinstance(alert, alerts.HashFailed):
            self._remark(f"piece {alert.piece} came wrong from its peers and is fetched again", logging.INFO)
        elif isinstance(alert, alerts.TrackerSaid):
            self.trouble = alert.text
        elif isinstance(alert, alerts.Failed):
            self._failed(alert)

    def _added(self, stay: Stay, alert: alerts.Added) -> None:
        if alert.error:
            self._remove()
            self.mode = Mode.AWAY
            self._stand_still(f"libtorrent can't use its torrent: {alert.error}")
            return
        stay.handle = alert.handle
        if stay.outdated or (self.mode is Mode.GIVING and self._asking):
            self._enter(Mode.AWAY)
            self._resume()
            return
        if not adding.loadable(self.torrent):
            alert.handle.set_metadata(self.torrent.info)
        self.reprioritize()

    def _piece_finished(self, stay: Stay, piece: int) -> None:
        if stay.here[piece]:
            return
        self.progressed_at = trio.current_time()
        for member in stay.came(piece):
            member.audience.brought(member.source, self.layout.part(member.file, piece)[0])
            if self._stay is not stay:
                return  # it had to give the files back, to make room
        self._asking.here(stay, piece)
        if piece not in self._asking and self._asking.mirrored:
            self.reprioritize()  # of those that are wanted only so that peers stay, another takes the place

    def _piece_read(self, stay: Stay, alert: alerts.PieceRead) -> None:
        stay.reading.ended(alert.piece)
        if alert.data is not None:
            self._asking.waiting.bring(alert.piece, alert.data)
        elif alert.piece in self._asking.waiting:
            self._asking.waiting.fail(alert.piece, SourceUnavailable(self.name, f"can't be read back: {alert.error}"))
        stay.read_back(self._asking.waiting)

    def _progress(self, stay: Stay, alert: alerts.Progress) -> None:
        ready = self.ready
        if stay.progressed(alert):
            self.progressed_at = trio.current_time()
        if self.ready != ready:
            self._inventory.poke()
        if self.mode is Mode.FETCHING and stay.deserted(now := trio.current_time()):
            stay.find_peers_again(self.peers, now)  # they parted before it was told what else it could fetch

    def _peer_connected(self, stay: Stay, peer: str) -> None:
        if len(self.peers) < MOST_PEERS:
            self.peers[peer] = None
        if not stay.connected:
            stay.connected = 1
            self._inventory.poke()

    def _remark(self, what: str, level: int = logging.WARNING) -> None:
        self._inventory.remark(self.name, what, level)

    def _stand_still(self, reason: str) -> None:
        self.trouble = reason
        self._remark(reason)
        self._asking.waiting.fail_all(SourceUnavailable(self.name, reason))

    def _failed(self, alert: alerts.Failed) -> None:
        self._stand_still(alert.reason)
        if alert.full:
            self._inventory.make_room()
        if alert.disk:
            self._recalled()

    # -- as time goes by ------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Stop fetching when nobody wants anything, offer what has come since, end what was given enough."""
        self._removals.expire(now)
        for gone in self._vigil.lost(self._inventory.closed()):
            self.forget(gone)
        stay = self._fetching
        if stay is not None and (stay.aside > self._most_aside or self._misplaced(now)):
            self._start_anew()
        if self._inventory.growing():
            self._idle_since = now
            self._enter(Mode.FETCHING)
        if stay is not None and stay is self._stay and stay.connected > stay.seeds and self._giving.at_all:
            self._offering.offer(stay, self._inventory.parts, self._work)
        if not self._resume() and (self._stay is None or self._stay.handle is not None):
            self._rest(now)

    def _rest(self, now: float) -> None:
        """Do what there is to be done while nobody wants anything."""
        if self.mode is Mode.FETCHING:
            complete = self._inventory.count == self.layout.count
            patient = self._asking.mirrored or (self._stay is not None and bool(self._stay.placed))
            if complete and self._stay is not None and self._stay.in_place and self._gives(now):
                give_back(self._stay.keep(self._stay.placed.values()))  # it gives already, from where it should
                self.mode, self._offered = Mode.GIVING, self.layout.count
            elif fetched_enough(now - self._idle_since, patient=patient, whole=complete):
                self._enter(Mode.GIVING if self._gives(now) else Mode.AWAY)
        elif self.mode is Mode.GIVING:
            if not self._gives(now):
                self._enter(Mode.AWAY)
            elif now - self._looked_at >= REFRESH:
                self._looked_at = now
                if self._inventory.count > self._offered:
                    self._enter(Mode.AWAY)
                    self._enter(Mode.GIVING)
        elif self._gives(now):
            self._enter(Mode.GIVING)

    def _resume(self) -> bool:
        """Fetch, if anything is wanted; say whether it is."""
        if wanted := bool(self._asking) or self._returning:
            self._enter(Mode.FETCHING)
        return wanted

    def _misplaced(self, now: float) -> bool:
        """Say whether to have a file written where the store keeps it, though that parts us from all peers."""
        timely = worth_parting(now - self._began_at, now - self._added_at, urgent=self._asking.urgent)
        return timely and adding.loadable(self.torrent) and misplaced(self.layout, self._inventory)

    def _start_anew(self) -> None:
        """Fetch on into an empty folder, or where the store keeps it: what lies there was handed over."""
        self._enter(Mode.AWAY)
        self._returning = True
        self._resume()

    def _gives(self, now: float) -> bool:
        """Say whether to give others what is here, still."""
        uploaded = self.uploaded + (self._stay.uploaded if self._stay is not None else 0)
        return self._giving.goes_on(self._inventory.count * self.layout.length, uploaded, now)
