"""A libtorrent session that is none: its torrents, peers and disk under trio's clock, the same for the same seed.

It stands in for `mountdl.sources.swarm.session.Session` and does what was measured of libtorrent 2.1.1 (decisions 14 and
19): one thread does one thing after another, so that what is asked of it happens a little later; blocks are written as
they come, before their piece is checked; who is asked for blocks sends them whatever is wanted by then; alerts come late.
It looks after two laws: nothing verified is written to, and what is offered to peers is right.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
import trio

from mountdl.descriptors.model import Torrent
from mountdl.extents import Extent
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm import alerts
from mountdl.sources.swarm.layout import Layout
from mountdl.store.stored import Stored

BLOCK = 1 << 14
TRICKLED = 0.5
"""Seconds for a block at least, where a torrent may take hardly anything."""


@dataclass(eq=False)
class Peer:
    """One that is *kind*, has *has* of all pieces, sends *rate* bytes a second, and is not there in *gaps*."""

    address: str
    kind: str = "good"
    latency: float = 0.05
    rate: float = 4e6
    has: float = 1.0
    gaps: Sequence[tuple[float, float]] = ()

    def there(self, now: float) -> bool:
        return not any(start <= now < stop for start, stop in self.gaps)


class Truth:
    """What *torrent*, whose files are *data* by index, is in truth, and who has it."""

    def __init__(self, torrent: Torrent, data: dict[int, bytes], peers: Sequence[Peer]) -> None:
        self.torrent, self.peers, self.layout = torrent, peers, Layout(torrent)
        last = self.layout.files[-1]
        row = bytearray(last.offset + last.size)
        for file in torrent.files:
            row[file.offset : file.offset + file.size] = data[file.index]
        self.row = bytes(row)
        self.keys = tuple(each.hex()[:40] for each in (torrent.info_hash_v1, torrent.info_hash_v2) if each)

    def piece(self, index: int) -> bytes:
        return self.row[index * self.layout.length : (index + 1) * self.layout.length]


class Info:
    """The file list of a torrent, as libtorrent tells it."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def layout(self) -> Info:
        return self

    def num_files(self) -> int:
        return len(self._truth.torrent.files)

    def file_offset(self, index: int) -> int:
        return self._truth.torrent.files[index].offset

    def file_size(self, index: int) -> int:
        return self._truth.torrent.files[index].size

    def piece_size(self, piece: int) -> int:
        return len(self._truth.piece(piece))


@dataclass
class Parameters:
    """What a torrent is added with."""

    truth: Truth
    peers: list[str]
    ti: Info
    save_path: str = ""
    renamed_files: dict[int, str] = field(default_factory=dict)
    have_pieces: list[bool] = field(default_factory=list)
    piece_priorities: list[int] = field(default_factory=list)


class Disk(Protocol):
    """Where blocks are written."""

    def full(self) -> bool:
        """Say whether there is no room."""

    def owner(self, path: Path) -> Stored | None:
        """Return what the store has open in the file *path*; None where that is none of the store's."""


class Handle:
    """A torrent in the session; each call is carried out later, one after another."""

    def __init__(self, session: FakeSession, given: Parameters) -> None:
        self._session, self._given = session, given
        truth = self.truth = given.truth
        count = truth.layout.count
        self.have = [bool(each) for each in given.have_pieces] or [False] * count
        self.wanted = list(given.piece_priorities) or [4] * count
        self.due: dict[int, float] = {}
        self.known = dict.fromkeys(given.peers)
        self.connected: dict[str, trio.CancelScope] = {}
        self.banned: set[str] = set()
        self.strikes: dict[str, int] = {}
        self.blocks: dict[int, dict[int, tuple[Peer, bool]]] = {}
        self.asked: dict[tuple[int, int], dict[str, float]] = {}
        self.limit = -1
        self.leaving = self.gone = self.stuck = False
        self.finished = False
        self.downloaded = self.uploaded = 0
        self.changed = trio.Event()
        base = Path(given.save_path)
        self.paths = {
            file.index: Path(given.renamed_files.get(place, base / file.path))
            for place, file in enumerate(truth.torrent.files)
        }
        chance = session.chance
        self.pieces_of = {
            peer.address: {piece for piece in range(count) if peer.has >= 1 or chance.random() < peer.has}
            for peer in truth.peers
        }

    # -- what mountdl calls --------------------------------------------------------------------------------

    def prioritize_pieces(self, changes: Iterable[tuple[int, int]]) -> None:
        self._session.later(lambda: self._prioritize(list(changes)))

    def _prioritize(self, changes: list[tuple[int, int]]) -> None:
        for piece, priority in changes:
            self.wanted[piece] = priority
        self.look()

    def set_piece_deadline(self, piece: int, milliseconds: int, flags: int) -> None:
        assert not flags
        now = trio.current_time()
        self._session.later(lambda: self._set_due(piece, now + milliseconds / 1000))

    def _set_due(self, piece: int, due: float) -> None:
        if not self.have[piece]:
            self.due[piece], self.wanted[piece] = due, 7
            self.look()

    def reset_piece_deadline(self, piece: int) -> None:
        self._session.later(lambda: self._reset(piece))

    def _reset(self, piece: int) -> None:
        if self.due.pop(piece, None) is not None:
            self.wanted[piece] = 1
            self.look()

    def set_download_limit(self, limit: int) -> None:
        self._session.later(lambda: self._limit(limit))

    def _limit(self, limit: int) -> None:
        self.limit = limit
        self.look()

    def connect_peer(self, peer: tuple[str, int]) -> None:
        self._session.later(lambda: self.meet(f"{peer[0]}:{peer[1]}"))

    def meet(self, address: str) -> None:
        self.known[address] = None
        for each in self.truth.peers:  # the list changed, so that all are looked through
            if each.address in self.known:
                self._session.connect(self, each)

    def read_piece(self, piece: int) -> None:
        self._session.later(lambda: self._read_piece(piece))

    def _read_piece(self, piece: int) -> None:
        if not self.have[piece]:
            self.tell(alerts.PieceRead, piece, None, "invalid piece index")
            return
        try:
            data = self.read(piece)
        except OSError as error:
            self.tell(alerts.PieceRead, piece, None, str(error))
            return
        assert self.leaving or data == self.truth.piece(piece), f"piece {piece} is not what it was"
        self.tell(alerts.PieceRead, piece, data)

    def add_piece(self, piece: int, data: bytes, flags: int) -> None:
        assert not flags
        self._session.later(lambda: self._add_piece(piece, data))

    def _add_piece(self, piece: int, data: bytes) -> None:
        if self.have[piece] or self.stuck or self.gone:
            return
        if not self.write(piece, 0, data):
            return
        self.blocks.pop(piece, None)
        self.check(piece)

    def torrent_file(self) -> Info:
        return self._given.ti

    # -- what it does --------------------------------------------------------------------------------------

    def tell(self, kind: Callable[..., alerts.Alert], *more: object) -> None:
        self._session.tell(kind(self.truth.keys, self, *more))

    def look(self) -> None:
        """Have all peers look what is wanted, and part if there is nothing."""
        event, self.changed = self.changed, trio.Event()
        event.set()
        lacks = any(each and not have for each, have in zip(self.wanted, self.have, strict=True))
        if not lacks and not self.finished and not self.gone:
            self.tell(alerts.Finished)
        self.finished = not lacks

    def write(self, piece: int, skipped: int, data: bytes) -> bool:
        """Put a block where it belongs; say whether that could be done."""
        start = piece * self.truth.layout.length + skipped
        row = Extent(start, start + len(data))
        for file in self.truth.layout.sharing(piece):
            part = row.intersection(Extent(file.offset, file.offset + file.size))
            if not part:
                continue
            try:
                self._put(
                    self.paths[file.index], part.start - file.offset, data[part.start - start : part.stop - start]
                )
            except OSError as error:
                self.stuck = True
                self.tell(alerts.Failed, error.strerror, True, True)  # noqa: FBT003
                return False
        return True

    def _put(self, path: Path, offset: int, data: bytes) -> None:
        if self._session.disk.full():
            raise OSError(28, "No space left on device")
        stored = self._session.disk.owner(path)
        if stored is not None:
            there = Extent(offset, offset + len(data))
            assert stored.loan.given, f"{path} is written to, and not lent"
            assert not any(stored.verified.overlap(there)), f"verified bytes of {there} of {path} are written to"
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(fd, data, offset)
        finally:
            os.close(fd)

    def read(self, piece: int) -> bytes:
        found = bytearray(len(self.truth.piece(piece)))
        for file in self.truth.layout.sharing(piece):
            extent, skipped = self.truth.layout.part(file, piece)
            with self.paths[file.index].open("rb") as opened:
                opened.seek(extent.start)
                found[skipped : skipped + extent.length] = opened.read(extent.length).ljust(extent.length, b"\0")
        return bytes(found)

    def check(self, piece: int) -> None:
        """Compare *piece*, of which all blocks came, with its hash."""
        brought = self.blocks.pop(piece, {})
        try:
            good = hashlib.sha1(self.read(piece)).digest() == hashlib.sha1(self.truth.piece(piece)).digest()
        except OSError:
            good = False
        if good:
            self.have[piece] = True
            self.due.pop(piece, None)
            self.tell(alerts.PieceFinished, piece)
            self.look()
            return
        liars = {peer.address for peer, lied in brought.values() if lied}
        assert liars or self.leaving or not brought, f"honest blocks of piece {piece} are not on the disk"
        self.tell(alerts.HashFailed, piece)
        for address in {peer.address for peer, _ in brought.values()}:
            self.strikes[address] = self.strikes.get(address, 0) + 1
            if address in liars and (len(brought) == 1 or len(liars) == 1 or self.strikes[address] > 2):
                self.banned.add(address)
                self.tell(alerts.PeerBanned, address)
                if address in self.connected:
                    self.connected[address].cancel()
        self.look()

    def pick(self, peer: Peer, most: int) -> list[tuple[int, int]]:
        """Return up to *most* blocks to ask *peer* for, and take them for asked."""
        now, has, found = trio.current_time(), self.pieces_of[peer.address], list[tuple[int, int]]()
        lacking = [piece for piece, each in enumerate(self.wanted) if each and not self.have[piece] and piece in has]
        lacking.sort(
            key=lambda piece: (
                self.due.get(piece, float("inf")),
                -self.wanted[piece],
                piece not in self.blocks,
                piece * 7919 % 101,
            )
        )
        for late in (False, True):
            for piece in lacking:
                for block in range(-(-len(self.truth.piece(piece)) // BLOCK)):
                    asked = self.asked.setdefault((piece, block), {})
                    patience = 1.0 if piece in self.due else 10.0
                    open_to = not asked or (late and all(now - since > patience for since in asked.values()))
                    if open_to and peer.address not in asked and block not in self.blocks.get(piece, ()):
                        asked[peer.address] = now
                        found.append((piece, block))
                        if len(found) >= most:
                            return found
            if found:
                break
        return found

    def unask(self, peer: Peer) -> None:
        for asked in self.asked.values():
            asked.pop(peer.address, None)

    def take(self, peer: Peer, piece: int, block: int, lies: bool) -> None:  # noqa: FBT001
        """Take in a block that *peer* sent."""
        self.asked.get((piece, block), {}).pop(peer.address, None)
        brought = self.blocks.setdefault(piece, {})
        if self.gone or self.stuck or self.have[piece] or block in brought:
            return
        data = self.truth.piece(piece)[block * BLOCK : (block + 1) * BLOCK]
        self.downloaded += len(data)
        if not self.write(piece, block * BLOCK, b"\xee" * len(data) if lies else data):
            return
        brought[block] = peer, lies
        if len(brought) * BLOCK >= len(self.truth.piece(piece)):
            self._session.soon(0.002, lambda: self.check_all(piece))

    def check_all(self, piece: int) -> None:
        brought = self.blocks.get(piece, {})
        if not self.gone and not self.have[piece] and len(brought) * BLOCK >= len(self.truth.piece(piece)):
            self.check(piece)

    def offers(self) -> None:
        """See that what peers may have is right."""
        if self.leaving or self.gone:
            return
        for piece, have in enumerate(self.have):
            if have:
                found = [str(self.paths[file.index]) for file in self.truth.layout.sharing(piece)]
                now = trio.current_time()
                assert self.read(piece) == self.truth.piece(piece), (
                    f"{now}: piece {piece} of {found} is offered, and wrong"
                )


class FakeSession:
    """See the module. *disk* is what torrents are written to."""

    disk: Disk
    chance: random.Random

    def __init__(self, settings: SwarmSettings, folder: Path, heard: Callable[[alerts.Alert], None]) -> None:
        del settings, folder
        self._heard = heard
        self.started = False
        self.promptness = self
        self.handles: dict[str, Handle] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._told: deque[alerts.Alert] = deque()
        self._order, self._tell = trio.Event(), trio.Event()
        self._nursery: trio.Nursery | None = None

    def look(self, now: float) -> None:
        """Be prompt."""

    def strike(self, peer: str) -> None:
        """Shut out nobody."""

    def start(self) -> FakeSession:
        self.started = True
        return self

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._obey)
                nursery.start_soon(self._report)
                await trio.sleep_forever()
        finally:
            self._nursery, self.started = None, False

    def later(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._order.set()

    def soon(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await trio.sleep(seconds)
            act()

        if self._nursery is not None:
            self._nursery.start_soon(wait)

    def tell(self, alert: alerts.Alert) -> None:
        self._told.append(alert)
        self._tell.set()

    async def _obey(self) -> None:
        while True:
            await self._order.wait()
            self._order = trio.Event()
            await trio.sleep(self.chance.choice((0.0, 0.001, 0.001, 0.01, 0.1)))
            while self._orders:
                self._orders.popleft()()

    async def _report(self) -> None:
        while True:
            await self._tell.wait()
            self._tell = trio.Event()
            await trio.sleep(self.chance.choice((0.0, 0.001, 0.001, 0.05)))
            while self._told:
                self._heard(self._told.popleft())

    # -- what mountdl calls --------------------------------------------------------------------------------

    def async_add_torrent(self, given: Parameters) -> None:
        assert self.started
        self.later(lambda: self._add(given))

    def _add(self, given: Parameters) -> None:
        handle = Handle(self, given)
        key = given.truth.keys[0]
        if key in self.handles:
            handle.tell(alerts.Added, given.save_path, "torrent already exists in session")
            return
        self.handles[key] = handle
        handle.tell(alerts.Added, given.save_path)
        handle.look()
        for peer in given.truth.peers:
            seconds = 0.01 if peer.address in handle.known else self.chance.choice((0.2, 1.0, 3.0))
            self.soon(seconds, partial(handle.meet, peer.address))

    def remove_torrent(self, handle: Handle) -> None:
        handle.leaving = True
        self.later(lambda: self._remove(handle))

    def _remove(self, handle: Handle) -> None:
        key = handle.truth.keys[0]
        if self.handles.get(key) is handle:
            del self.handles[key]
        handle.gone = True
        for scope in handle.connected.values():
            scope.cancel()
        late = self.chance.choice((0.001, 0.01, 0.01, 0.01, 0.7))
        self.soon(late, lambda: handle.tell(alerts.Removed))

    def post_torrent_updates(self) -> None:
        self.later(self._update)

    def _update(self) -> None:
        for handle in self.handles.values():
            seeds = sum(peer.address in handle.connected and peer.has >= 1 for peer in handle.truth.peers)
            handle.tell(alerts.Progress, len(handle.connected), seeds, handle.downloaded, handle.uploaded)

    # -- peers ---------------------------------------------------------------------------------------------

    def connect(self, handle: Handle, peer: Peer) -> None:
        away = peer.address in handle.connected or peer.address in handle.banned
        if self._nursery is not None and not away and not handle.gone:
            scope = handle.connected[peer.address] = trio.CancelScope()
            self._nursery.start_soon(self._meet, handle, peer, scope)

    async def _meet(self, handle: Handle, peer: Peer, scope: trio.CancelScope) -> None:
        satisfied = False
        try:
            with scope:
                await trio.sleep(peer.latency)
                if peer.there(trio.current_time()):
                    handle.tell(alerts.PeerConnected, peer.address)
                    await trio.sleep(self.chance.choice((0.05, 0.05, 1.0)))
                    satisfied = await self._serve(handle, peer)
        finally:
            handle.unask(peer)
            del handle.connected[peer.address]
        if not satisfied and not handle.gone:
            self.soon(5.0, lambda: self.connect(handle, peer))

    async def _serve(self, handle: Handle, peer: Peer) -> bool:
        """Send what is asked for until one of both goes; say whether that is for want of anything to do."""
        while peer.there(trio.current_time()):
            if peer.kind == "choker":
                await trio.sleep(7)
                continue
            blocks = handle.pick(peer, max(2, min(16, int(peer.rate / BLOCK))))
            if not blocks:
                if handle.finished and peer.has >= 1 and self.chance.random() < 0.3:
                    return True
                with trio.move_on_after(1.0):
                    await handle.changed.wait()
                continue
            await trio.sleep(peer.latency)
            for piece, block in blocks:
                await trio.sleep(max(BLOCK / peer.rate, TRICKLED if handle.limit > 0 else 0.0))
                if not peer.there(trio.current_time()):
                    return False
                if peer.kind == "flaky" and self.chance.random() < 0.02:
                    return False
                handle.take(peer, piece, block, peer.kind == "liar" and self.chance.random() < 0.3)
        return False


def install(patch: pytest.MonkeyPatch, truths: Sequence[Truth], disk: Disk, seed: str = "") -> None:
    """Have swarms of *truths* be those that there are, by way of *disk*."""

    def parameters(torrent: Torrent, peers: Iterable[str], *_: object) -> Parameters:
        truth = next(each for each in truths if each.torrent is torrent)
        return Parameters(truth, list(peers), Info(truth))

    patch.setattr("mountdl.sources.swarm.transport.Session", FakeSession)
    patch.setattr("mountdl.sources.swarm.adding.parameters", parameters)
    patch.setattr(FakeSession, "disk", disk, raising=False)
    patch.setattr(FakeSession, "chance", random.Random(seed), raising=False)
