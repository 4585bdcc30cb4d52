"""When a torrent's peers are called back: they part as soon as all is here that was wanted at the moment."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from mountdl.content import content_of
from mountdl.descriptors import parse
from mountdl.descriptors.model import Torrent
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm import alerts
from mountdl.sources.swarm.holdings import Member
from mountdl.sources.swarm.layout import Layout
from mountdl.sources.swarm.source import SwarmSource
from mountdl.sources.swarm.stay import PAUSE
from mountdl.sources.swarm.swarm import Swarm
from mountdl.sources.swarm.waiting import Order
from tests.support.content import pattern
from tests.support.torrents import single, torrent
from tests.unit.test_swarm_parts import Here, Nobody
from tests.wire.http import Collected

LENGTH = 16384
PIECES = 20
PEER = "127.0.0.1:7001"


@dataclass(eq=False)
class Handle:
    """What libtorrent has of a torrent, as far as a swarm tells it: *wanted* pieces, and who it was told to call."""

    wanted: set[int]
    called: list[tuple[str, int]] = field(default_factory=list)

    def prioritize_pieces(self, changes: list[tuple[int, int]]) -> None:
        for piece, priority in changes:
            (self.wanted.add if priority else self.wanted.discard)(piece)

    def set_piece_deadline(self, piece: int, milliseconds: int, flags: int) -> None:
        self.wanted.add(piece)

    def reset_piece_deadline(self, piece: int) -> None:
        """No matter here."""

    def set_download_limit(self, limit: int) -> None:
        """No matter here."""

    def connect_peer(self, peer: tuple[str, int]) -> None:
        self.called.append(peer)

    def read_piece(self, piece: int) -> None:
        """No matter here."""


class Session:
    """A session that takes one torrent."""

    started = True

    def __init__(self) -> None:
        self.added: list[object] = []

    def start(self) -> Session:
        return self

    def async_add_torrent(self, given: object) -> None:
        self.added.append(given)

    def remove_torrent(self, handle: object) -> None:
        """Let it go without a word."""


class Scene:
    """A swarm that is fetched beside mirrors, and its only peer."""

    def __init__(self, tmp_path: Path, *, mirrored: bool = True) -> None:
        pytest.importorskip("libtorrent")  # for what a torrent is added with
        said = parse("a.torrent", torrent(single(pattern(PIECES * LENGTH), LENGTH, "a.bin"))).torrent
        assert said is not None
        self.torrent: Torrent = said
        self.session = Session()
        work: Callable[[Callable[[], None]], None] = lambda act: None  # noqa: E731
        self.swarm = Swarm(said, self.session, SwarmSettings(), lambda: tmp_path, work, 1 << 30)  # type: ignore[arg-type]
        self.here = Here(ExtentSet())
        self.member = Member(said.files[0], self.here, Nobody(), "swarm", mirrored=mirrored)
        self.swarm.join(self.member)
        [given] = self.session.added
        self.handle = Handle({piece for piece, each in enumerate(given.piece_priorities) if each})  # type: ignore[attr-defined]
        self.tell(alerts.Added, str(tmp_path))
        self.tell(alerts.PeerConnected, PEER)
        self.peers(1)

    def tell(self, kind: Callable[..., alerts.Alert], *more: object) -> None:
        assert self.swarm.heard(kind((), self.handle, *more))

    def peers(self, count: int) -> None:
        self.tell(alerts.Progress, count, count, 0, 0)

    def bring(self) -> None:
        """Have the peer bring all that is wanted at the moment, and part, as libtorrent has it."""
        for piece in sorted(self.handle.wanted):
            self.handle.wanted.discard(piece)
            self.here.verified.add(Extent(piece * LENGTH, (piece + 1) * LENGTH))
            self.tell(alerts.PieceFinished, piece)

    @property
    def calls(self) -> int:
        """How often the peer was called back."""
        return self.handle.called.count(("127.0.0.1", 7001))


async def test_what_keeps_it_from_being_fetched_is_logged_once(
    tmp_path: Path, clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Each try makes a folder of another name; a disk that became read-only stays so for days."""

    def folder() -> Path:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"/cache/swarms/tmp{trio.current_time()}")

    scene = Scene(tmp_path)
    scene.swarm._folder = folder
    scene.swarm.leave(scene.member)
    for _ in range(8):
        await trio.sleep(4)
        scene.swarm.tick(trio.current_time())
        scene.swarm.join(scene.member)
        scene.swarm.want(scene.member, [0], Priority.READ)
        scene.swarm.unwant([0], Priority.READ)
        scene.swarm.leave(scene.member)
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == [f"{scene.swarm.name}: it can't be joined: Read-only file system"]


@pytest.mark.parametrize("told_late", [False, True])
async def test_peers_that_part_while_mirrors_serve_are_called_back(
    tmp_path: Path, clock: object, told_late: bool
) -> None:
    """More is wanted only then, and nobody asks a swarm without peers for anything: none would ever come again."""
    scene = Scene(tmp_path)
    if told_late:
        scene.bring()
        scene.peers(0)
        scene.tell(alerts.Finished)
    else:
        scene.bring()
        scene.tell(alerts.Finished)
        scene.peers(0)
    scene.peers(0)
    assert scene.handle.wanted
    assert not scene.swarm.ready
    assert scene.calls == 1
    scene.peers(0)
    assert scene.calls == 1


async def test_peers_that_stay_are_not_called(tmp_path: Path, clock: object) -> None:
    """Each call costs a refused connection."""
    scene = Scene(tmp_path)
    for _ in range(3):
        scene.bring()
        scene.tell(alerts.Finished)
        scene.peers(1)
    assert scene.calls == 0


async def test_what_only_the_folder_has_needs_no_peers(tmp_path: Path, clock: object) -> None:
    """It was evicted, and a reader waits: it is asked for, though nobody is connected who could be."""
    scene = Scene(tmp_path)
    while scene.handle.wanted:
        scene.bring()
    scene.peers(0)
    scene.swarm.seek(scene.member)
    assert not scene.swarm.ready
    scene.here.verified.remove(Extent(0, PIECES * LENGTH))
    scene.swarm.seek(scene.member)
    assert scene.swarm.ready
    assert len(scene.session.added) == 1


async def test_who_comes_and_goes_is_not_called_each_time(tmp_path: Path, clock: object) -> None:
    """There are peers that part as soon as they are connected; they are not called ten times a second."""
    scene = Scene(tmp_path)
    start = trio.current_time()
    while trio.current_time() < start + 60:
        await trio.sleep(0.5)
        scene.peers(1)
        await trio.sleep(0.5)
        scene.peers(0)
    assert 60 / PAUSE - 1 <= scene.calls <= 60 / PAUSE + 1


class Borrowed(Nobody):
    """An audience whose data file libtorrent has yet to let go of."""

    def __init__(self) -> None:
        self.back = trio.Event()

    async def own(self) -> None:
        await self.back.wait()


@dataclass
class Ready:
    """A swarm that has all there is of *torrent* at hand, and its hub."""

    torrent: Torrent
    data: bytes

    def learn_for(self, source: SwarmSource) -> None:
        source.taught(self.torrent)

    def swarm(self, torrent: Torrent) -> Ready:
        return self

    @property
    def layout(self) -> Layout:
        return Layout(self.torrent)

    def join(self, member: Member) -> None:
        """Let it in."""

    def want(self, *_: object) -> None:
        """Have it already."""

    delivered = unwant = withdraw = want

    def order(self, pieces: range, member: Member) -> Order:
        order = Order(pieces, member)
        for piece in pieces:
            order.bring(piece, self.data[piece * LENGTH : (piece + 1) * LENGTH])
        return order


async def test_bytes_are_handed_over_once_the_file_is_lent_no_more(clock: trio.testing.MockClock) -> None:
    """Until then the store takes none: they were fetched anew, at once, as often as the processor could."""
    data = pattern(2 * LENGTH)
    said = parse("a.torrent", torrent(single(data, LENGTH)))
    assert said.torrent is not None
    [entry], ready = said.entries, Ready(said.torrent, data)
    source = SwarmSource(entry.swarms[0], content_of(entry, len(data)), "swarm", ready)  # type: ignore[arg-type]
    audience, sink = Borrowed(), Collected()
    source.join(Here(ExtentSet()), audience)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(source.fetch, Extent(0, len(data)), sink, priority=Priority.READ))
        await trio.sleep(5)
        assert sink.parts == []
        audience.back.set()
    assert data == sink.data
