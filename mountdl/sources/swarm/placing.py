"""Which files of a torrent libtorrent has where the store keeps them, to write or only to give to others.

Law: bytes that are verified stay as they are. libtorrent writes whole pieces, block by block, before it has checked
them; so a piece that is not whole, but of which such a file has verified bytes, is never fetched there. Whether a file
may be written is for those to say who answer for it.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mountdl.errors import StoreError
from mountdl.extents import Extent
from mountdl.sources.swarm.alerts import Handle
from mountdl.sources.swarm.holdings import Inventory, Member, Part, held, part_of, whole
from mountdl.sources.swarm.layout import Layout

EARLY = 5.0
"""Seconds from when it begins to be fetched in which a torrent may be added anew though a reader waits: little came."""
LATE = 30.0
"""Seconds from its adding on after which it may be added anew while no reader waits."""
MOMENT = 0.5
"""Seconds within which libtorrent is expected to say that a torrent was removed: it takes some milliseconds."""
LONGEST = 20.0
"""Seconds after which a torrent is taken for removed though libtorrent did not say so."""


@dataclass(frozen=True, slots=True)
class Loans:
    """Files that libtorrent has where the store keeps them: *parts*, of which it writes those that are *placed*.

    *have* says of each piece whether it is whole in them; *blocked* are those that must not be fetched.
    """

    placed: tuple[Member, ...] = ()
    parts: tuple[Part, ...] = ()
    have: Sequence[bool] = ()
    blocked: frozenset[int] = field(default_factory=frozenset)


def borrow(layout: Layout, inventory: Inventory, busy: Container[int], recalled: Callable[[], None]) -> Loans:
    """Have the data files lent of those that lack something, are not *busy* and can be had.

    Those that are whole are given to others beside them. *recalled* is called when libtorrent must let all of them go.
    """
    wanted, parts = _eligible(layout, inventory, busy, placeable)
    lent: list[Member] = []
    for member in wanted:
        if not _lent(layout, member, recalled):
            give_back(lent)
            return Loans()
        lent.append(member)
    for member in lent:
        member.placed = True
        parts[member.file.index] = part_of(member.file, member.holdings)
    blocked = frozenset(piece for index in parts for piece in _partial(layout, parts, index))
    return Loans(tuple(lent), tuple(parts.values()), held(layout, parts.values()), blocked) if lent else Loans()


def misplaced(layout: Layout, inventory: Inventory) -> bool:
    """Say whether `borrow` would have more files lent than are, once these were given back, and none less."""
    if not any(map(placeable, inventory.members)):
        return False
    found, _ = _eligible(layout, inventory, (), lambda member: member.placed or placeable(member))
    lent = sum(member.placed for member in found)
    return lent == sum(member.placed for member in inventory.members) and lent < len(found)


def _eligible(
    layout: Layout, inventory: Inventory, busy: Container[int], able: Callable[[Member], bool]
) -> tuple[list[Member], dict[int, Part]]:
    """Return those to be lent, if they are *able* to and not *busy*, and all parts that libtorrent would have."""
    in_use = {member.file.index: member for member in inventory.members}
    # Of what shares most of its pieces little is gained, and much is lost: where small files are read here and there
    # each blocks pieces that others need, so that the torrent leaves its peers for each (57 ms a file of 30 KB).
    wanted = {
        index: member
        for index, member in in_use.items()
        if index not in busy and layout.fills(member.file) and able(member)
    }
    if not wanted:
        return [], {}
    parts = {part.file.index: part for part in inventory.whole() if layout.fills(part.file)}
    parts.update((index, part_of(member.file, member.holdings)) for index, member in wanted.items())
    while contested := [index for index in parts if _contested(layout, parts, index, in_use)]:
        for index in contested:
            del parts[index]
    return [wanted[index] for index in parts if index in wanted], parts


def _lent(layout: Layout, member: Member, recalled: Callable[[], None]) -> bool:
    try:
        return member.audience.lend(loose(layout, member), recalled)
    except StoreError:
        return False


def _contested(layout: Layout, parts: Mapping[int, Part], index: int, in_use: Mapping[int, Member]) -> bool:
    """Say whether another file in use lacks its part of a piece of which the file *index* has verified bytes."""
    return any(
        file.index != index
        and file.index in in_use
        and not in_use[file.index].holdings.verified.covers(layout.part(file, piece)[0])
        for piece in _partial(layout, parts, index)
        for file in layout.sharing(piece)
    )


def _partial(layout: Layout, parts: Mapping[int, Part], index: int) -> list[int]:
    """Return the pieces that the file *index* shares and has verified bytes of, and that are not whole in *parts*."""
    part = parts[index]
    pieces = layout.pieces(part.file, Extent(0, part.file.size))
    return [
        piece
        for piece in {pieces[0], pieces[-1]}
        if any(part.verified.overlap(layout.part(part.file, piece)[0]))
        and not all(
            file.index in parts and parts[file.index].verified.covers(layout.part(file, piece)[0])
            for file in layout.sharing(piece)
        )
    ]


def placeable(member: Member) -> bool:
    """Say whether *member* lacks something that libtorrent may write where the store keeps it."""
    return not member.placed and not whole(member) and member.audience.lends()


def loose(layout: Layout, member: Member) -> list[Extent]:
    """Return what is here of *member* in pieces of which another part of it is lacking: they come anew."""
    found: list[Extent] = []
    for extent in member.holdings.verified:
        pieces = layout.pieces(member.file, extent)
        parts = [layout.part(member.file, piece)[0] for piece in {pieces[0], pieces[-1]}]  # all between are whole
        found += (part.intersection(extent) for part in parts if not member.holdings.verified.covers(part))
    return found


def worth_parting(since: float, age: float, *, urgent: bool) -> bool:
    """Say whether a torrent may part from its peers so that all goes where it is to be.

    It is fetched for *since* seconds, and was added last *age* seconds ago. *urgent*: a reader waits.
    """
    return since < EARLY or (age > LATE and not urgent)


def give_back(members: Iterable[Member]) -> None:
    """Let the engine know that libtorrent writes to the files of *members* no more."""
    for member in members:
        member.placed = False
        member.audience.returned()


class Removals:
    """Torrents that are to leave the session, and the files that are given back once they left; true while there are.

    libtorrent does one thing after another: what is added later is not written to before what was removed is gone.
    """

    def __init__(self) -> None:
        self._under_way: list[tuple[float, Handle, Sequence[Member]]] = []

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def near(self, now: float) -> bool:
        """Say whether files will be given back in a moment."""
        return any(placed and now - since < MOMENT for since, _, placed in self._under_way)

    @property
    def busy(self) -> set[int]:
        """The files that may be written to yet."""
        return {member.file.index for _, _, placed in self._under_way for member in placed}

    def begin(self, handle: Handle, placed: Sequence[Member], now: float) -> None:
        """Take in that *handle*, which writes the files *placed*, is to be removed."""
        self._under_way.append((now, handle, placed))

    def ended(self, handle: Handle) -> None:
        """Take in that *handle* was removed."""
        self._end(lambda _, each: bool(each == handle))

    def expire(self, now: float) -> None:
        """Take those for removed that should be by now."""
        self._end(lambda since, _: now - since > LONGEST)

    def _end(self, over: Callable[[float, Handle], bool]) -> None:
        gone = [each for each in self._under_way if over(each[0], each[1])]
        for each in gone:
            self._under_way.remove(each)
            give_back(each[2])
