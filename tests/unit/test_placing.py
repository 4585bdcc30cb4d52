"""Which files libtorrent writes where the store keeps them, and when they are given back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from mountdl.content import ContentKey
from mountdl.descriptors.model import Torrent, TorrentFile
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.sources.swarm.alerts import Handle
from mountdl.sources.swarm.asking import Asking
from mountdl.sources.swarm.holdings import Inventory, Member
from mountdl.sources.swarm.layout import Layout
from mountdl.sources.swarm.placing import (
    EARLY,
    LATE,
    LONGEST,
    MOMENT,
    Loans,
    Removals,
    borrow,
    misplaced,
    worth_parting,
)
from mountdl.sources.swarm.stay import Stay
from mountdl.sources.swarm.waiting import Order, Waiting
from mountdl.sources.swarm.wants import Wants
from tests.unit.test_swarm_parts import ROWS, in_a_row


@dataclass
class File:
    """The store's and the engine's side of a file of *size* bytes, lent if it *can* be."""

    size: int
    verified: ExtentSet = field(default_factory=ExtentSet)
    can: bool = True
    refuses: bool = False
    lent: bool = False
    key: ContentKey = ContentKey("k")
    path: Path = Path("/")

    @property
    def there(self) -> ExtentSet:
        return self.verified

    @property
    def filed(self) -> ExtentSet:
        return self.verified

    def remark(self, source: str, what: str) -> None:
        pass

    def poke(self) -> None:
        pass

    def crowded(self) -> None:
        pass

    def lends(self) -> bool:
        return self.can and not self.lent

    def lend(self, loose: Iterable[Extent], recalled: Callable[[], None]) -> bool:
        if self.refuses:
            return False
        for extent in loose:
            self.verified.remove(extent)
        self.lent = True
        return True

    def brought(self, source: str, extent: Extent) -> None:
        self.verified.add(extent)

    async def own(self) -> None:
        pass

    def returned(self) -> None:
        self.lent = False


def member(file: TorrentFile, held: File) -> Member:
    return Member(file, held, held, "swarm", mirrored=False)


def files(torrent: Torrent, **more: Any) -> list[Member]:
    return [member(file, File(file.size, **more)) for file in torrent.files]


def nobody() -> None:
    raise AssertionError("nobody recalls")


def inventory(torrent: Torrent, *members: Member) -> Inventory:
    made = Inventory(Layout(torrent))
    made.members += members
    return made


@given(ROWS, st.data())
def test_no_verified_byte_lies_in_a_piece_that_is_fetched_into_its_file(torrent: Torrent, data: st.DataObject) -> None:
    """Pieces are written block by block before they are checked.

    Nothing goes but what is here of a piece of which the same file lacks another part, and what somebody lacks is not
    blocked.
    """
    layout = Layout(torrent)
    members = []
    for file in torrent.files:
        flags = data.draw(st.lists(st.booleans(), min_size=file.size, max_size=file.size))
        here = ExtentSet(Extent(at, at + 1) for at in range(file.size) if flags[at])
        members.append(member(file, File(file.size, here, can=data.draw(st.booleans()))))
    used = [each for each in members if data.draw(st.booleans())]
    before = {each.file.index: each.holdings.verified.copy() for each in members}

    loans = borrow(layout, inventory(torrent, *used), (), nobody)

    had = {part.file.index: part.verified for part in loans.parts}
    for each in members:
        assert each.placed is (each in loans.placed)
        for piece in layout.pieces(each.file, Extent(0, each.file.size)):
            part, now = layout.part(each.file, piece)[0], each.holdings.verified
            if each.placed and not before[each.file.index].covers(part):
                assert not any(now.overlap(part))
                assert piece not in loans.blocked
            else:
                assert list(before[each.file.index].overlap(part)) == list(now.overlap(part))
            if each.file.index in had and any(now.overlap(part)):
                assert loans.have[piece] or piece in loans.blocked
            if each in used and not now.covers(part):
                assert piece not in loans.blocked
    for piece in (piece for piece, each in enumerate(loans.have) if each):
        assert all(had[file.index].covers(layout.part(file, piece)[0]) for file in layout.sharing(piece))


def test_only_what_lacks_something_and_is_lent_is_placed() -> None:
    """What is whole is given to others beside it. If one is refused after all, none is, and nothing stays lent."""
    torrent = in_a_row([8, 8, 8], 4)
    full, busy, lacking = files(torrent)
    full.holdings.verified.add(Extent(0, 8))
    busy.audience.can = False  # type: ignore[attr-defined]

    loans = borrow(Layout(torrent), inventory(torrent, full, busy, lacking), (), nobody)
    assert ((lacking,), [True, True, False, False, False, False]) == (loans.placed, loans.have)
    first, second, third = files(torrent)
    second.audience.refuses = True  # type: ignore[attr-defined]
    assert Loans() == borrow(Layout(torrent), inventory(torrent, first, second), (), nobody)
    assert not first.placed
    assert first.audience.lends()
    assert (third,) == borrow(Layout(torrent), inventory(torrent, first, third), {0}, nobody).placed


def test_a_piece_that_another_file_needs_is_not_fetched_over_what_is_here() -> None:
    """While somebody uses the other one the file that has a part of it is not placed; else the piece is left alone."""
    torrent = in_a_row([6, 6], 4)
    one, other = files(torrent)
    other.holdings.verified.add(Extent(0, 2))

    assert (one,) == borrow(Layout(torrent), inventory(torrent, one, other), (), nobody).placed
    _, alone = files(torrent)
    alone.holdings.verified.add(Extent(0, 2))
    loans = borrow(Layout(torrent), inventory(torrent, alone), (), nobody)
    assert ((alone,), {1}) == (loans.placed, loans.blocked)
    assert alone.holdings.verified == ExtentSet([Extent(0, 2)])


def test_files_that_share_most_of_their_pieces_are_not_placed() -> None:
    """Small ones block each other's pieces, and have nothing that would be there twice for long."""
    torrent = in_a_row([3, 4, 22, 3], 4)
    layout = Layout(torrent)
    assert [layout.fills(each.file) for each in files(torrent)] == [False, False, True, False]
    small, _, large, last = files(torrent)
    assert Loans() == borrow(layout, inventory(torrent, small, last), (), nobody)
    assert not misplaced(layout, inventory(torrent, small, last))
    small.holdings.verified.add(Extent(0, 3))
    loans = borrow(layout, inventory(torrent, small, large, last), (), nobody)
    assert ((large,), frozenset()) == (loans.placed, loans.blocked)
    aligned = in_a_row([3], 4), in_a_row([4, 8], 4)
    assert all(Layout(each).fills(file) for each in aligned for file in each.files)


def test_what_is_removed_gives_its_files_back_once_it_is_gone() -> None:
    """Or when that was to be expected long ago; until then nobody else gets them."""
    torrent = in_a_row([8, 8], 4)
    one, other = files(torrent)
    removals, first, second = Removals(), object(), object()
    borrow(Layout(torrent), inventory(torrent, one, other), (), nobody)
    removals.begin(first, [one], 10.0)
    removals.begin(second, [other], 11.0)

    assert removals
    assert removals.near(10.1)
    assert not removals.near(11.0 + MOMENT)
    assert {0, 1} == removals.busy
    removals.ended(object())
    assert not one.audience.lends()
    removals.ended(first)
    assert one.audience.lends()
    assert {1} == removals.busy
    removals.expire(11.0 + LONGEST)
    assert not other.audience.lends()
    removals.expire(11.1 + LONGEST)
    assert other.audience.lends()
    assert not removals


def test_peers_are_parted_from_early_or_when_nobody_waits() -> None:
    """Hardly anything has come yet, or it costs no reader a thing; but not again and again."""
    assert worth_parting(0, 0, urgent=True)
    assert not worth_parting(EARLY, 0, urgent=False)
    assert not worth_parting(LATE + 1, 0, urgent=False)
    assert not worth_parting(LATE + 1, LATE + 1, urgent=True)
    assert worth_parting(LATE + 1, LATE + 1, urgent=False)


def test_a_torrent_moves_only_where_more_would_be_placed() -> None:
    """Not for a file that another one keeps from it, nor for one that would push another out: that had no end."""
    torrent = in_a_row([6, 6, 4], 4)
    layout = Layout(torrent)
    one, other, third = files(torrent)
    other.holdings.verified.add(Extent(0, 2))

    assert misplaced(layout, inventory(torrent, one, other))
    borrow(layout, inventory(torrent, one, other), (), nobody)
    assert not misplaced(layout, inventory(torrent, one, other))
    assert misplaced(layout, inventory(torrent, one, other, third))
    beside = files(torrent)[1]
    borrow(layout, inventory(torrent, beside), (), nobody)
    beside.holdings.verified.add(Extent(0, 2))
    assert not misplaced(layout, inventory(torrent, beside, files(torrent)[0]))


def test_only_what_readers_want_is_urgent() -> None:
    """A piece that somebody reads beside the background is."""
    wants = Wants()
    wants.add([1, 2], Priority.BACKGROUND)
    assert not wants.urgent
    wants.add([2], Priority.READAHEAD)
    assert wants.urgent


def test_a_piece_that_two_files_share_is_in_place_where_both_are() -> None:
    """Else a part of it lies aside."""
    torrent = in_a_row([6, 6], 4)
    one, other = files(torrent)
    layout = Layout(torrent)
    alone = Stay(layout, Path(), Loans((one,), have=[True, False, False]))

    assert [one] == alone.came(1)
    assert 1 == alone.aside
    assert [] == alone.came(2)
    assert not alone.in_place
    both = Stay(layout, Path(), Loans((one, other), have=[True, False, False]))
    assert [one, other] == both.came(1)
    assert [other] == both.came(2)
    assert both.in_place
    both.abandon(other)
    assert [other] == [*both.abandoned.values()]
    assert {one, other} == {*both.end()}
    assert not one.placed


async def test_who_writes_the_file_is_told_of_pieces_and_handed_none() -> None:
    """Beside somebody who needs the bytes of the same piece; it changes when the file is given back."""
    torrent = in_a_row([8, 8], 4)
    placed, aside = files(torrent)
    placed.placed = True
    waiting = Waiting()
    first, second = Order([1, 2], placed), Order([1], aside)
    waiting.place(first)
    waiting.place(second)

    assert 1 in waiting
    assert 2 not in waiting
    waiting.file(1)
    assert (1, None) == await first.next()
    assert second.left
    waiting.bring(1, b"data")
    assert (1, b"data") == await second.next()
    placed.placed = False
    assert 2 in waiting
    waiting.bring(2, b"more")
    assert (2, b"more") == await first.next()
    assert not first


class Told:
    """A torrent that notes of which pieces it is told anything that has it fetch them."""

    def __init__(self) -> None:
        self.fetches: set[int] = set()

    def prioritize_pieces(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.fetches.update(piece for piece, priority in pairs if priority)

    def set_piece_deadline(self, piece: int, milliseconds: int, flags: int) -> None:
        self.fetches.add(piece)

    def reset_piece_deadline(self, piece: int) -> None:
        self.fetches.add(piece)

    def set_download_limit(self, limit: int) -> None:
        pass


def test_a_blocked_piece_is_fetched_in_no_way() -> None:
    """Though somebody wants it still, who has it by now, or does not want it any more: a deadline is a priority too."""
    torrent = in_a_row([6, 6, 8], 4)
    layout = Layout(torrent)
    one, other, third = files(torrent)
    one.holdings.verified.add(Extent(0, 6))
    asked = inventory(torrent, one, third)
    asking, told = Asking(layout, asked), Told()
    asking.add(one, [1], Priority.READ)
    asking.add(third, [3, 4], Priority.READ)
    stay = Stay(layout, Path(), borrow(layout, asked, (), nobody))
    stay.handle = cast("Handle", told)

    assert stay.blocked == {1}
    assert asking.begin(stay)[1] == 0
    asking.reprioritize(stay)
    asking.lower(stay, asking.remove([1], Priority.READ))
    assert 4 in told.fetches
    assert 1 not in told.fetches
