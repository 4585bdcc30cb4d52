"""A mirror: one ftp or ftps URL as a source of one content.

Law: a file is only as long as it was counted: neither the end of a data connection nor a reply of 226 makes bytes
whole (a killed server ends them as cleanly as a good one). A size that is not the content's refuses the mirror,
and so do bytes behind its end: a server that sends text instead of files. Knows no chunk and no digest's value.
"""

from collections import deque
from dataclasses import dataclass

import trio

from mountdl.content import Content, Level
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.sources.base import Limits, Paced, Sink, hold
from mountdl.sources.ftp.address import AddressRefused, Place, place_of, shown
from mountdl.sources.ftp.channel import Broken, Untrusted
from mountdl.sources.ftp.pool import SKIP, Pool
from mountdl.sources.ftp.session import Crowded, NoRest, Refused, Session, Transfer
from mountdl.sources.ftp.wire import WireError
from mountdl.sources.http.patience import Pace
from mountdl.sources.tunnel import reason_of

_FAIR_RUN = 1 << 20
"""Bytes after which others have their turn, however fast more come."""

_ENDS = 16
"""Ends of fetches that are remembered: a fetch that begins at one is of a reader that goes on."""

_CROWDED_WAIT = 5.0

Failure = Broken | WireError | NoRest | Refused | Crowded | Untrusted


@dataclass(slots=True)
class _Job:
    """What is to be delivered; *offset* is the next byte."""

    offset: int
    stop: int
    sink: Sink
    goes_on: bool
    paced: Paced | None


class Mirror:
    """The source that *ref* is for *content*; implements `Source`. *most* is how many connections a server may get."""

    def __init__(self, pool: Pool, ref: MirrorRef, content: Content, most: int) -> None:
        self._pool = pool
        self._size = content.size
        self._proof = content.level is not Level.NONE
        self._most = min(most, ref.max_connections) if ref.max_connections else most
        self._name = shown(ref.url)
        self._place, self._why = _place(ref.url, pool)
        self._modified: str | None = None
        self._sequential = False
        self._ends: deque[int] = deque(maxlen=_ENDS)

    @property
    def name(self) -> str:
        """For logs and status: the URL without credentials."""
        return self._name

    @property
    def limits(self) -> Limits:
        """How it likes to be used; a 421 lowers it."""
        if self._place is None:
            return Limits(1, "")
        facts = self._pool.facts(self._place.login)
        return Limits(facts.parallel(self._most, _now()), self._place.login.shown, self._sequential)

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        """Deliver *extent* to *sink* in order, or raise SourceError. What the sink raises passes."""
        if self._place is None:
            raise SourceRefused(self._name, self._why)
        goes_on = extent.start == 0 or extent.start in self._ends or priority is not Priority.READ
        job = _Job(extent.start, extent.stop, sink, goes_on, sink if isinstance(sink, Paced) else None)
        while job.offset < job.stop:
            before = job.offset
            try:
                again = await self._attempt(self._place, job)
            except (Broken, WireError, NoRest, Refused, Crowded, Untrusted) as error:
                raise self._error(error) from error
            if not again and job.offset == before:
                raise SourceUnavailable(self._name, "sends nothing")
        self._ends.append(extent.stop)

    async def _attempt(self, place: Place, job: _Job) -> bool:
        """Read on with one session; say whether another should be tried because this one was an old one."""
        before = job.offset
        session, used = await self._pool.lease(place, job.offset, self._most)
        keep = False
        try:
            await self._read(session, place, job)
            keep = True
        except (Broken, WireError):
            if job.offset == job.stop:
                return False  # all is here; only the session is of no more use
            if not used or job.offset > before:
                raise
            return True
        except (Refused, NoRest):
            keep = True
            raise
        except Crowded:
            self._pool.crowded(place.login)
            raise
        except BaseException:
            # Cancelled or without room in the store: fit for the next when it only has to end a transfer.
            keep = session.transfer is not None
            session.stop()
            raise
        finally:
            if keep:
                self._pool.give_back(place.login, session)
            else:
                self._pool.drop(place.login, session)
        return False

    async def _read(self, session: Session, place: Place, job: _Job) -> None:
        await self._check(session, place)
        transfer = await self._transfer(session, place, job)
        reader = _Reader(transfer, self._pool)
        while transfer.offset < job.stop:
            view = await reader.some(job)
            if not view:
                await self._cut_short(session, job.stop - transfer.offset)
        if job.stop == self._size and transfer.stop is None:
            await self._tail(session, reader)
        elif transfer.stop is not None or not job.goes_on:
            await session.wind_up()

    async def _transfer(self, session: Session, place: Place, job: _Job) -> Transfer:
        """Return a transfer that stands at, or little before, where *job* begins."""
        found = session.transfer
        if found is not None and found.path == place.path and found.offset <= job.offset <= found.offset + SKIP:
            return found
        start = 0 if self._sequential and job.offset <= SKIP else job.offset
        extent = Extent(start, job.stop)
        try:
            return await session.retrieve(place.path, extent, bounded_by_server=not job.goes_on)
        except NoRest:
            self._sequential = True
            raise

    async def _check(self, session: Session, place: Place) -> None:
        """Ask, once a session, whether the file is the one described."""
        if place.path in session.seen:
            return
        size, modified, _ = await session.describe(place.path)
        if size is not None and size != self._size:
            raise SourceMismatch(self._name, f"has {size} bytes, not {self._size}")
        if self._modified is None:
            self._modified = modified
        elif modified != self._modified and not self._proof:
            raise SourceMismatch(self._name, "changed meanwhile")
        session.seen.add(place.path)

    async def _tail(self, session: Session, reader: "_Reader") -> None:
        if await reader.more():
            raise SourceMismatch(self._name, f"sends more than the {self._size} bytes that it says it has")
        await session.verdict()

    async def _cut_short(self, session: Session, missing: int) -> None:
        try:
            reply = await session.verdict()
        except (Broken, WireError):
            raise Broken(f"the file ended {missing} bytes early") from None
        if reply.code // 100 == 2:
            raise SourceMismatch(self._name, f"says that the file ends {missing} bytes early")
        raise Broken(f"the file ended {missing} bytes early: {reply.code} {reply.text}")

    def _error(self, error: Failure) -> SourceError:
        match error:
            case Crowded():
                return SourceUnavailable(self._name, str(error), _CROWDED_WAIT)
            case Refused() | Untrusted():
                return SourceRefused(self._name, str(error))
            case _:
                return SourceUnavailable(self._name, str(error))


class _Reader:
    """Reads one transfer into sinks, and judges its pace."""

    def __init__(self, transfer: Transfer, pool: Pool) -> None:
        self._transfer, self._patience = transfer, pool.means.patience
        self._pace = Pace(self._patience, trio.current_time())
        # Shared: what is received is handed on before anybody else's turn.
        self._scratch = pool.scratch
        self._run = 0
        connection = transfer.connection
        # In the plain one call takes all that is there, and asking on at once finds crumbs: 1 MiB took 1.3 of the time.
        self._read = connection.fill_now if transfer.secure else connection.read_now

    async def some(self, job: _Job) -> int:
        """Give the next bytes to the sink, or read over what lies before; return how many, 0 at the end."""
        transfer = self._transfer
        skip = job.offset - transfer.offset
        if not skip and job.paced is not None:
            self._pace.rested(await hold(job.paced))
        room = None if skip else job.sink.room(job.offset)
        if not room:
            room = self._scratch
        room = room[: skip or job.stop - job.offset]
        count = await self._filled(room)
        transfer.offset += count
        if count and not skip:
            job.sink.write(job.offset, room[:count])
            job.offset += count
        return count

    async def more(self) -> bool:
        """Say whether anything comes before the end."""
        return bool(await self._filled(self._scratch[:1]))

    async def _filled(self, room: memoryview) -> int:
        if self._run >= _FAIR_RUN:
            self._run = 0
            await trio.lowlevel.checkpoint()
        try:
            while (count := self._read(room)) is None:
                self._run = 0
                await self._pause()
        except OSError as error:
            raise Broken(reason_of(error)) from error
        self._run += count
        self._pace.came(count)
        return count

    async def _pause(self) -> None:
        if self._pace.too_slow(trio.current_time()):
            raise Broken(f"slower than {self._patience.rate:g} bytes a second")
        with trio.move_on_after(self._patience.silence) as scope:
            await self._transfer.connection.wait()
        if scope.cancelled_caught:
            raise Broken(f"silent for {self._patience.silence:g} s")


def _place(url: str, pool: Pool) -> tuple[Place | None, str]:
    try:
        return place_of(url, pool.means.login), ""
    except AddressRefused as error:
        return None, str(error)


def _now() -> float:
    return trio.current_time()
