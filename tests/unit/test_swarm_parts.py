"""The pure parts of swarms: layout, wants, giving, and who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from mountdl.content import ContentKey
from mountdl.descriptors.model import Torrent, TorrentFile
from mountdl.errors import SourceUnavailable
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm.giving import Giving
from mountdl.sources.swarm.holdings import AHEAD, Inventory, Member, last_missing, missing, unasked, window
from mountdl.sources.swarm.layout import Layout, pick
from mountdl.sources.swarm.modes import IDLE, LINGER, fetched_enough
from mountdl.sources.swarm.offering import AT_ONCE, Offering
from mountdl.sources.swarm.placing import Loans
from mountdl.sources.swarm.stay import Stay
from mountdl.sources.swarm.waiting import READ_AT_ONCE, REMEMBERED, Order, ReadingBack, Waiting
from mountdl.sources.swarm.wants import AHEAD_MS, NOT_WANTED, SOON, WANTED, Told, Wants


def in_a_row(sizes: list[int], length: int) -> Torrent:
    """Return a torrent of files of *sizes*, one behind the other without padding."""
    files, offset = [], 0
    for index, size in enumerate(sizes):
        files.append(TorrentFile(PurePosixPath(f"top/{index}"), size, offset, index))
        offset += size
    return Torrent(b"", bytes(20), None, length, -(-offset // length), tuple(files))


ROWS = st.builds(in_a_row, st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 16))


@given(ROWS, st.data())
def test_the_parts_of_an_extent_are_the_extent(torrent: Torrent, data: st.DataObject) -> None:
    """Pieces that hold an extent cover it, each byte once, and none is asked for in vain."""
    layout = Layout(torrent)
    file = data.draw(st.sampled_from(torrent.files))
    start = data.draw(st.integers(0, file.size))
    extent = Extent(start, data.draw(st.integers(start, file.size)))
    covered = [layout.part(file, piece)[0].intersection(extent) for piece in layout.pieces(file, extent)]

    assert all(covered)
    assert ExtentSet([extent]) == ExtentSet(covered)
    assert extent.length == sum(part.length for part in covered)


@given(ROWS, st.data())
def test_a_piece_is_held_when_every_byte_of_it_is(torrent: Torrent, data: st.DataObject) -> None:
    """Against a row of flags, a byte each."""
    layout = Layout(torrent)
    total = sum(file.size for file in torrent.files)
    flags = data.draw(st.lists(st.booleans(), min_size=total, max_size=total))
    verified = {
        file.index: ExtentSet(Extent(at, at + 1) for at in range(file.size) if flags[file.offset + at])
        for file in torrent.files
    }
    length = torrent.piece_length

    assert [all(flags[at : at + length]) for at in range(0, total, length)] == layout.held(verified)


def test_a_file_is_picked_by_name_else_by_a_size_of_its_own() -> None:
    """With or without the torrent's own name; never one of another size, nor one of two that fit."""
    torrent = in_a_row([5, 7, 7], 4)

    assert torrent.files[2] == pick(torrent, "top/2", 7)
    assert torrent.files[2] == pick(torrent, "2", 7)
    assert torrent.files[0] == pick(torrent, "another", 5)
    assert pick(torrent, "top/0", 6) is None
    assert pick(torrent, None, 7) is None


def test_readers_come_first_and_what_is_ahead_of_them_later() -> None:
    """Deadlines rise from piece to piece; what nobody waits for has none."""
    wants = Wants()
    wants.add([7], Priority.BACKGROUND)
    wants.add([4, 5], Priority.READAHEAD)
    wants.add([9, 8], Priority.READ)

    assert [(8, 0), (9, 50), (4, 100 + AHEAD_MS)] == wants.deadlines([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    assert [] == wants.remove([9], Priority.READ)[1:]
    assert 9 not in wants


def test_who_has_waited_longest_comes_first() -> None:
    """Not who waits for earlier pieces: one who reads on and on there would keep all others waiting."""
    wants = Wants()
    wants.add([9], Priority.READ)
    wants.add([1, 2], Priority.READ)
    wants.add([9], Priority.READ)
    wants.remove([9], Priority.READ)

    assert [(9, 0), (1, 50), (2, 100)] == wants.deadlines(bytes(10))


@dataclass
class Here:
    """What the store has of a content, as a swarm sees it."""

    verified: ExtentSet
    doubted: ExtentSet = field(default_factory=ExtentSet)
    key: ContentKey = ContentKey("k")
    path: Path = Path("/nowhere")

    @property
    def filed(self) -> ExtentSet:
        """What is good; nothing is in memory."""
        return self.verified

    @property
    def there(self) -> ExtentSet:
        """What is good or in doubt."""
        return ExtentSet([*self.verified, *self.doubted])


def member(torrent: Torrent, *verified: Extent, mirrored: bool = False) -> Member:
    return Member(torrent.files[0], Here(ExtentSet(verified)), Nobody(), "swarm", mirrored=mirrored)


class Nobody:
    """An audience that does not listen."""

    def remark(self, source: str, what: str) -> None:
        """Hear nothing."""

    def poke(self) -> None:
        """Feel nothing."""

    def lends(self) -> bool:
        """Lend nothing."""
        return False

    def lend(self, loose: Iterable[Extent], recalled: Callable[[], None]) -> bool:
        """Lend nothing."""
        raise AssertionError("it says that it lends nothing")

    def crowded(self) -> None:
        """Make no room."""

    def brought(self, source: str, extent: Extent) -> None:
        """Hear nothing."""

    async def own(self) -> None:
        """Lent nothing."""

    def returned(self) -> None:
        """Lent nothing."""


ASIDE = member(in_a_row([4], 4))


def test_all_that_is_lacking_stays_wanted_but_of_what_mirrors_bring() -> None:
    """Then peers stay, however fast they are; of what mirrors may bring the last pieces will do."""
    torrent = in_a_row([400], 4)
    layout, here = Layout(torrent), bytearray(100)
    here[98] = 1

    assert sorted({*range(2, 98), 99}) == sorted(unasked(layout, member(torrent, Extent(0, 8)), here))
    assert [99, 97, 96, 95] == list(unasked(layout, member(torrent, mirrored=True), here))
    assert [] == list(unasked(layout, member(torrent, Extent(0, 400)), here))


def test_what_a_kill_left_is_not_wanted_again() -> None:
    """It is hashed when somebody comes to it; what a fast peer brings meanwhile would have come in vain."""
    torrent = in_a_row([400], 4)
    killed = replace(member(torrent), holdings=Here(ExtentSet(), ExtentSet([Extent(0, 200)])), ahead=0)

    assert list(range(99, 49, -1)) == list(unasked(Layout(torrent), killed, bytearray(100)))
    assert min(window(Layout(torrent), killed, bytearray(100))) == 50


def test_what_is_next_to_a_reader_comes_before_the_rest() -> None:
    """The nearer the sooner. Not what is here or in the store, nor where mirrors serve too, nor before anybody reads."""
    near, _, far = (bytes_off for bytes_off, _ in AHEAD)
    high, _, low = (priority for _, priority in AHEAD)
    torrent = in_a_row([far * 3], near)
    layout, here = Layout(torrent), bytearray(3 * far // near)
    reading = member(torrent, Extent(near * 6, near * 8))
    here[4] = 1

    assert {} == window(layout, reading, here)
    reading.ahead = 3
    found = window(layout, reading, here)
    assert set(range(3, 3 + far // near)) - {4, 6, 7} == found.keys()
    assert (high, low) == (found[3], found[2 + far // near])
    assert [found[piece] for piece in sorted(found)] == sorted(found.values(), reverse=True)
    assert all(WANTED < each < SOON for each in found.values())
    reading.mirrored = True
    assert {} == window(layout, reading, here)


@given(ROWS, st.data())
def test_missing_pieces_are_those_with_a_byte_that_is_not_verified(torrent: Torrent, data: st.DataObject) -> None:
    """Of a span of pieces or of all, forwards or from the end, each once."""
    layout = Layout(torrent)
    file = data.draw(st.sampled_from(torrent.files))
    flags = data.draw(st.lists(st.booleans(), min_size=file.size, max_size=file.size))
    verified = ExtentSet(Extent(at, at + 1) for at in range(file.size) if flags[at])
    start = data.draw(st.integers(0, layout.count))
    span = range(start, data.draw(st.integers(start, layout.count + 3)))
    expected = sorted({(file.offset + at) // layout.length for at in range(file.size) if not flags[at]})

    assert expected == list(missing(layout, file, verified))
    assert expected[::-1] == list(last_missing(layout, file, verified))
    assert [piece for piece in expected if piece in span] == list(missing(layout, file, verified, span))


class ToldMachine(RuleBasedStateMachine):
    """libtorrent told only of changes wants what it would want were it told all."""

    def __init__(self) -> None:
        super().__init__()
        self.told, self.has = Told(), dict[int, int]()

    wishes = st.dictionaries(st.integers(0, 9), st.sampled_from([WANTED, 4, SOON]))

    def tell(self, changes: list[tuple[int, int]]) -> None:
        self.has.update(changes)
        self.has = {piece: each for piece, each in self.has.items() if each != NOT_WANTED}

    @rule(wanted=wishes)
    def all(self, wanted: dict[int, int]) -> None:
        self.tell(self.told.all(wanted))
        assert wanted == self.has

    @rule(wanted=wishes)
    def more(self, wanted: dict[int, int]) -> None:
        expected = {**self.has, **wanted}
        self.tell(self.told.more(wanted))
        assert expected == self.has

    @rule(piece=st.integers(0, 9))
    def lowered(self, piece: int) -> None:
        self.has[piece] = WANTED
        self.told.lowered(piece)


TestTold = ToldMachine.TestCase


def test_what_somebody_asked_for_has_a_priority_of_its_own() -> None:
    """Of what is here none."""
    wants = Wants()
    wants.add([0, 1], Priority.READ)
    wants.add([1, 2], Priority.BACKGROUND)

    assert {1: SOON, 2: WANTED} == wants.priorities([1, 0, 0])


def test_pieces_are_read_back_few_at_a_time_the_urgent_first() -> None:
    """What nobody waits for any more is not read."""
    reading = ReadingBack(READ_AT_ONCE // 2)
    for piece in range(5):
        reading.add(piece)
    reading.hurry([3, 7])

    assert [3, 0] == reading.begin(range(5))
    reading.add(3)
    assert [] == reading.begin(range(5))
    reading.ended(3)
    assert [2] == reading.begin(range(2, 5))


def test_verified_pieces_are_handed_over_once_and_few_at_a_time() -> None:
    """Not what libtorrent has, and no more in all than may lie aside."""
    torrent = in_a_row([AT_ONCE * 3], AT_ONCE // 2)
    offering = Offering(Layout(torrent), 3)
    held = [True, False, True, True, True, True]
    stay = Stay(Layout(torrent), Path(), Loans(have=[True] + [False] * 5, blocked=frozenset([3])))

    assert [2, 4] == offering.choose(held, stay)
    assert [5] == offering.choose(held, stay)
    assert [] == offering.choose(held, stay)


def test_whole_pieces_are_counted_when_something_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torrent that is given for months is asked for its count twice a second."""
    torrent = in_a_row([400], 4)
    inventory, looks = Inventory(Layout(torrent)), []
    held = Layout.held
    monkeypatch.setattr(Layout, "held", lambda *asked: (looks.append(1), held(*asked))[1])
    one = replace(member(torrent), holdings=Here(ExtentSet(), path=Path(__file__)))
    inventory.members.append(one)

    assert (inventory.count, inventory.count, len(looks)) == (0, 0, 1)
    one.holdings.verified.add(Extent(0, 9))
    assert (inventory.count, inventory.count, len(looks)) == (2, 2, 2)
    one.holdings.verified.remove(Extent(0, 1))
    assert inventory.count == 1
    inventory.leave(one)
    assert (inventory.count, inventory.count) == (1, 1)
    inventory.forget(one.holdings.key)
    assert inventory.count == 0


def test_what_mirrors_bring_grows_until_it_is_whole() -> None:
    """What a swarm alone brings does not count."""
    torrent = in_a_row([400], 4)
    inventory = Inventory(Layout(torrent))
    alone, beside = member(torrent), member(torrent, mirrored=True)
    inventory.members += [alone, beside]

    assert not inventory.growing()
    alone.holdings.verified.add(Extent(0, 8))
    assert not inventory.growing()
    beside.holdings.verified.add(Extent(0, 8))
    assert inventory.growing()
    assert not inventory.growing()
    beside.holdings.verified.add(Extent(0, 400))
    assert not inventory.growing()


@pytest.mark.parametrize(("idle", "patient", "whole", "ends"), [
    (IDLE, False, False, True),
    (IDLE, True, False, False),
    (LINGER, True, False, True),
    (0.0, True, True, True),
])  # fmt: skip
def test_a_swarm_beside_mirrors_waits_longer_for_peers(
    idle: float,
    patient: bool,
    whole: bool,
    ends: bool,  # noqa: FBT001
) -> None:
    """And not at all where all is here."""
    assert ends == fetched_enough(idle, patient=patient, whole=whole)


def test_giving_ends_by_ratio_or_time() -> None:
    """0 is no limit for a ratio, and nothing at all for a time."""
    assert Giving(SwarmSettings(seed_ratio=1.5)).goes_on(100, 149, 0)
    assert not Giving(SwarmSettings(seed_ratio=1.5)).goes_on(100, 150, 0)
    assert Giving(SwarmSettings(seed_ratio=0)).goes_on(100, 10**9, 0)
    assert not Giving(SwarmSettings(seed_time=0)).goes_on(100, 0, 0)
    assert not Giving(SwarmSettings()).goes_on(0, 0, 0)
    assert not Giving(SwarmSettings(seed_time=0)).at_all
    timed = Giving(SwarmSettings(seed_time=60))
    assert timed.at_all
    assert timed.goes_on(100, 0, 1000)
    assert not timed.goes_on(100, 0, 1060)


async def test_all_who_wait_for_a_piece_get_it(clock: trio.testing.MockClock) -> None:
    """In the order in which pieces come; who fails is told why, and a few bytes are kept for the next."""
    waiting = Waiting()
    got: list[object] = []

    async def wait(*pieces: int) -> None:
        order = Order(pieces, ASIDE)
        waiting.place(order)
        try:
            while order:
                got.append(await order.next())
        except SourceUnavailable as error:
            got.append(error.reason)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 1, 2)
        nursery.start_soon(wait, 1, 3)
        await trio.testing.wait_all_tasks_blocked()
        waiting.bring(2, b"two")
        await trio.testing.wait_all_tasks_blocked()
        waiting.bring(1, b"one")
        waiting.fail_all(SourceUnavailable("s", "gone"))
    assert got[0] == (2, b"two")
    assert sorted(map(str, got[1:])) == ["(1, b'one')", "(1, b'one')", "gone"]
    assert not waiting
    with trio.fail_after(60):
        again = Order([1], ASIDE)
        waiting.place(again)
        assert await again.next() == (1, b"one")
    assert not again
    waiting.bring(3, bytes(REMEMBERED))
    late = Order([1], ASIDE)
    waiting.place(late)
    assert 1 in waiting
    waiting.withdraw(late)
    assert not waiting


@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_file_has_no_pieces(size: int) -> None:
    """Nor does an empty extent."""
    torrent = in_a_row([size, 3], 4)

    assert len(Layout(torrent).pieces(torrent.files[0], Extent(0, size))) == size
