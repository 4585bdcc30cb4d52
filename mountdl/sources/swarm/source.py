"""A swarm as a source of one content: extents to pieces, pieces to the sink."""

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from mountdl.content import Content
from mountdl.descriptors.model import SwarmRef, Torrent, TorrentFile
from mountdl.errors import MountdlError, SourceError, SourceMismatch, SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.sources.base import Audience, Certified, Holdings, Limits, Sink
from mountdl.sources.swarm.holdings import Member
from mountdl.sources.swarm.layout import pick
from mountdl.sources.swarm.swarm import Swarm

if TYPE_CHECKING:
    from mountdl.sources.swarm.transport import SwarmTransport

PARALLEL = 16
"""Flights at a time: a swarm schedules for itself, so the whole window is given to it."""
PATIENCE = 20.0
"""Seconds without a piece of the whole torrent after which a flight is given up."""


class _Claim:
    """What one fetch of *extent* wants; pieces a reader comes to need meanwhile are brought by *nursery* first."""

    def __init__(self, extent: Extent, sink: Sink, priority: Priority, nursery: trio.Nursery) -> None:
        self.extent, self.sink, self.priority, self.nursery = extent, sink, priority, nursery
        self.hastened: dict[int, None] = {}
        self.delivered: set[int] = set()


class SwarmSource:
    """The file of the torrent that *ref* leads to, as a source of *content*; *torrent* is None until it is learned."""

    def __init__(self, ref: SwarmRef, content: Content, name: str, hub: "SwarmTransport") -> None:
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

    @property
    def limits(self) -> Limits:
        """Nothing is asked of a swarm that is not known to have peers while there are mirrors to ask."""
        willing = not self.content.mirrors or (self._swarm is not None and self._swarm.ready)
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

    def taught(self, torrent: Torrent) -> None:
        """Take in that *torrent* is the one."""
        if self._holdings is None or self._audience is None or self._known.is_set():
            return
        file = pick(torrent, self.ref.name, self.content.size)
        if file is None:
            self.refused(SourceMismatch(self.name, "its torrent has no file of this name and size"))
            return
        self._swarm = self._hub.swarm(torrent)
        self._member = Member(file, self._holdings, self._audience, mirrored=bool(self.content.mirrors))
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
        """See `Source`: pieces are asked for all at once, and delivered in order but for what is hastened."""
        swarm, file = await self._ready()
        pieces = swarm.layout.pieces(file, extent)
        async with _nursery() as nursery:
            claim = _Claim(extent, sink, priority, nursery)
            self._claims.add(claim)
            swarm.want(pieces, priority)
            if priority is Priority.BACKGROUND and self._member is not None:
                swarm.eager(self._member)
            try:
                for piece in pieces:
                    if piece not in claim.delivered:
                        await self._deliver(swarm, file, piece, claim)
            finally:
                self._claims.discard(claim)
                swarm.unwant(pieces, priority)
                for piece in claim.hastened:
                    swarm.unwant(range(piece, piece + 1), Priority.READ)
                nursery.cancel_scope.cancel()

    def hasten(self, extent: Extent) -> None:
        """See `Joined`."""
        if self._swarm is None or self._member is None:
            return
        for claim in self._claims:
            part = claim.extent.intersection(extent)
            if claim.priority is Priority.READ or not part:
                continue
            for piece in self._swarm.layout.pieces(self._member.file, part):
                if piece not in claim.hastened:
                    claim.hastened[piece] = None
                    self._swarm.want(range(piece, piece + 1), Priority.READ)
                    claim.nursery.start_soon(self._deliver_first, self._swarm, self._member.file, piece, claim)

    async def _deliver_first(self, swarm: Swarm, file: TorrentFile, piece: int, claim: _Claim) -> None:
        # What goes wrong here will go wrong where it is delivered in order, and be told there.
        with suppress(MountdlError):
            await self._deliver(swarm, file, piece, claim)

    async def _ready(self) -> tuple[Swarm, TorrentFile]:
        with trio.move_on_after(PATIENCE):
            await self._known.wait()
        if self._refusal is not None:
            raise type(self._refusal)(self.name, self._refusal.reason)
        if self._swarm is None or self._member is None:
            raise SourceUnavailable(self.name, f"nobody told what is in its torrent within {PATIENCE:.0f} s")
        return self._swarm, self._member.file

    async def _deliver(self, swarm: Swarm, file: TorrentFile, piece: int, claim: _Claim) -> None:
        data = await self._piece(swarm, piece)
        if piece in claim.delivered:
            return
        claim.delivered.add(piece)
        part, skipped = swarm.layout.part(file, piece)
        wanted = part.intersection(claim.extent)
        start = skipped + wanted.start - part.start
        view = memoryview(data)[start : start + wanted.length]
        if len(view) != wanted.length:
            raise SourceUnavailable(self.name, f"gave back {len(data)} bytes for piece {piece}")
        _write(claim.sink, wanted.start, view)
        if isinstance(claim.sink, Certified):
            claim.sink.certify(wanted)

    async def _piece(self, swarm: Swarm, piece: int) -> bytes:
        began = trio.current_time()
        while True:
            with trio.move_on_after(PATIENCE):
                return await swarm.piece(piece)
            if trio.current_time() - max(began, swarm.progressed_at) >= PATIENCE:
                raise SourceUnavailable(self.name, _reason(swarm))


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


class _nursery:  # noqa: N801  # used as a function
    """A nursery whose body's own exception comes out as it is, not in a group."""

    def __init__(self) -> None:
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> trio.Nursery:
        return await self._manager.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        try:
            return bool(await self._manager.__aexit__(kind, error, trace))  # type: ignore[arg-type]
        except BaseExceptionGroup as group:
            if error is not None and not isinstance(error, trio.Cancelled):
                raise error from None
            raise group from None
