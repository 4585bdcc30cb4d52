"""A swarm as a source of one content: extents to pieces, pieces to the sink."""

from typing import Protocol

import trio

from mountdl.content import Content
from mountdl.descriptors.model import SwarmRef, Torrent
from mountdl.errors import SourceError, SourceMismatch, SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.sources.base import Audience, Certified, Holdings, Limits, Sink
from mountdl.sources.swarm.holdings import Member
from mountdl.sources.swarm.layout import pick
from mountdl.sources.swarm.swarm import Swarm
from mountdl.sources.swarm.waiting import Order

PARALLEL = 16
"""Flights at a time: a swarm schedules for itself, so the whole window is given to it."""
SEEK = 2.0
"""Seconds between two looks whether peers are to be found for a reader who waits."""
PATIENCE = 20.0
"""Seconds without a piece of the whole torrent after which a flight is given up."""


class Hub(Protocol):
    """What all sources share, as one of them sees it."""

    def learn_for(self, source: "SwarmSource") -> trio.CancelScope | None:
        """Tell *source* its torrent, at once where all is here for that; else cancel what comes back to stop asking."""

    def swarm(self, torrent: Torrent) -> Swarm:
        """Return the swarm of *torrent*, the same for all its files."""


class _Claim:
    """What one fetch of *extent* wants: *pieces*, and *hastened*, those that a reader came to need meanwhile."""

    def __init__(self, extent: Extent, priority: Priority, pieces: range, order: Order) -> None:
        self.extent, self.priority, self.order = extent, priority, order
        self.pieces, self.hastened = set(pieces), set[int]()

    def delivered(self, piece: int, swarm: Swarm) -> None:
        """Want *piece* no more: whenever what lies aside is emptied, all that is wanted is fetched."""
        self.pieces.discard(piece)
        swarm.delivered(piece, self.priority)
        if piece in self.hastened:
            self.hastened.discard(piece)
            swarm.delivered(piece, Priority.READ)


class SwarmSource:
    """The file of the torrent that *ref* leads to, as a source of *content*; *torrent* is None until it is learned."""

    def __init__(self, ref: SwarmRef, content: Content, name: str, hub: Hub) -> None:
        self.ref, self.content, self.name = ref, content, name
        self._hub = hub
        self._audience: Audience | None = None
        self._holdings: Holdings | None = None
        self._member: Member | None = None
        self._swarm: Swarm | None = None
        self._known = trio.Event()
        self._refusal: SourceError | None = None
        self._asking: trio.CancelScope | None = None
        self._claims: set[_Claim] = set()
        self._mirrored, self._sought_at = bool(content.mirrors), float("-inf")

    @property
    def limits(self) -> Limits:
        """Nothing is asked of a swarm that is not known to have peers while there are mirrors to ask."""
        willing = not self._mirrored or (self._swarm is not None and self._swarm.ready)
        return Limits(PARALLEL if willing else 0, self.name)

    @property
    def trouble(self) -> str | None:
        """See `Joined`."""
        if self._refusal is not None:
            return self._refusal.reason
        if self._holdings is None or (self._swarm is not None and self._swarm.connected):
            return None
        return "nobody told what is in its torrent yet" if self._swarm is None else _reason(self._swarm)

    # -- joining --------------------------------------------------------------------------------------------

    def join(self, holdings: Holdings, audience: Audience) -> None:
        """See `Joined`."""
        self._holdings, self._audience = holdings, audience
        self._asking = self._hub.learn_for(self)

    def leave(self) -> None:
        """See `Joined`."""
        if self._asking is not None:
            self._asking.cancel()
        if self._swarm is not None and self._member is not None:
            self._swarm.leave(self._member)
        self._audience = self._holdings = self._member = None

    def beside(self, *, mirrors: bool) -> None:
        """See `Joined`."""
        if self._mirrored is mirrors:
            return
        self._mirrored = mirrors
        if self._swarm is not None and self._member is not None:
            self._member.mirrored = mirrors
            self._swarm.reprioritize()

    def seek(self) -> None:
        """See `Joined`."""
        now = trio.current_time()
        if not self._mirrored or now < self._sought_at + SEEK:
            return  # without mirrors it is asked in any case
        self._sought_at = now
        if self._swarm is not None and self._member is not None:
            self._swarm.seek(self._member)

    def taught(self, torrent: Torrent) -> None:
        """Take in that *torrent* is the one."""
        if self._holdings is None or self._audience is None or self._known.is_set():
            return
        file = pick(torrent, self.ref.name, self.content.size)
        if file is None:
            self.refused(SourceMismatch(self.name, "its torrent has no file of this name and size"))
            return
        self._swarm = self._hub.swarm(torrent)
        self._member = Member(file, self._holdings, self._audience, self.name, mirrored=self._mirrored)
        self._swarm.join(self._member)
        self._known.set()

    def refused(self, error: SourceError) -> None:
        """Take in that no torrent can be had, or none of use, for *error*."""
        self._refusal = error
        self.delayed(error.reason)
        self._known.set()

    def delayed(self, reason: str) -> None:
        """Take in that the torrent could not be had this time, for *reason*."""
        if self._audience is not None:
            self._audience.remark(self.name, reason)

    # -- fetching -------------------------------------------------------------------------------------------

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        """See `Source`: pieces are asked for all at once, and delivered in the order in which they come."""
        swarm, member = await self._ready()
        pieces = swarm.layout.pieces(member.file, extent)
        swarm.want(member, pieces, priority)
        claim = _Claim(extent, priority, pieces, swarm.order(pieces, member))
        self._claims.add(claim)
        try:
            while claim.order:
                piece, data = await self._next(swarm, claim.order)
                place = swarm.layout.part(member.file, piece)
                if data is None:
                    sink.landed(place[0].intersection(extent))
                else:
                    # Else it would be fetched again, and be at hand at once: as often as the processor can.
                    await member.audience.own()
                    self._deliver(place, data, extent, sink)
                claim.delivered(piece, swarm)
        finally:
            self._claims.discard(claim)
            swarm.withdraw(claim.order)
            swarm.unwant(sorted(claim.pieces), priority)
            if claim.hastened:
                swarm.unwant(claim.hastened, Priority.READ)

    def hasten(self, extent: Extent) -> None:
        """See `Joined`."""
        if self._swarm is None or self._member is None:
            return
        for claim in self._claims:
            part = claim.extent.intersection(extent)
            if claim.priority is Priority.READ or not part:
                continue
            needed = self._swarm.layout.pieces(self._member.file, part)
            pieces = [piece for piece in needed if piece in claim.order.left and piece not in claim.hastened]
            if pieces:
                claim.hastened.update(pieces)
                self._swarm.want(self._member, pieces, Priority.READ)

    async def _ready(self) -> tuple[Swarm, Member]:
        with trio.move_on_after(PATIENCE):
            await self._known.wait()
        if self._refusal is not None:
            raise type(self._refusal)(self.name, self._refusal.reason)
        if self._swarm is None or self._member is None:
            raise SourceUnavailable(self.name, f"nobody told what is in its torrent within {PATIENCE:.0f} s")
        return self._swarm, self._member

    async def _next(self, swarm: Swarm, order: Order) -> tuple[int, bytes | None]:
        began = trio.current_time()
        while True:
            with trio.move_on_after(PATIENCE):
                return await order.next()
            if trio.current_time() - max(began, swarm.progressed_at) >= PATIENCE:
                raise SourceUnavailable(self.name, _reason(swarm))

    def _deliver(self, place: tuple[Extent, int], data: bytes, extent: Extent, sink: Sink) -> None:
        """Give *sink* what of *extent* is in *data*, a piece: *place* is its extent of the file and where it begins."""
        part, skipped = place
        wanted = part.intersection(extent)
        start = skipped + wanted.start - part.start
        view = memoryview(data)[start : start + wanted.length]
        if len(view) != wanted.length:
            raise SourceUnavailable(self.name, f"gave back a piece of {len(data)} bytes, too few for {wanted}")
        _write(sink, wanted.start, view)
        if isinstance(sink, Certified):
            sink.certify(wanted)


def _write(sink: Sink, offset: int, view: memoryview) -> None:
    """Give *view* to *sink*, where it offers memory by way of that: it is hashed and written by a thread then."""
    room = sink.room(offset)
    if room is not None and len(room) <= len(view):
        length = len(room)
        room[:length] = view[:length]
        sink.write(offset, room)
        offset, view = offset + length, view[length:]
    if view:
        sink.write(offset, view)


def _reason(swarm: Swarm) -> str:
    if not swarm.connected:
        more = f" ({swarm.trouble})" if swarm.trouble else ""
        return f"has no peer that answers{more}"
    return f"sent nothing for {PATIENCE:.0f} s, with {swarm.connected} peers"
