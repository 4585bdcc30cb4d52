"""What the engine and the protocols agree on.

A source knows neither store, chunks, digests nor who wants what: it gets an extent, a sink and a
hint of priority, and raises `SourceError` when it can't deliver.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import trio

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import Descriptor, MirrorRef, SwarmRef
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority


@dataclass(frozen=True, slots=True)
class Limits:
    """How a source likes to be used.

    *parallel* flights at most; *host* is what connection limits are counted by ("mirror.example.org:443");
    *sequential*: it can only deliver from offset 0 on (a server without ranges). *least*: bytes that it is to be
    asked for at once, where so many are left.
    """

    parallel: int
    host: str
    sequential: bool = False
    least: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """What a cheap question to a mirror told: *size* in bytes if it says one, *ranges* if it serves them.

    *mirrors* are other places that it names (RFC 6249), only where *digests* can check them; *documents* are
    metadata of the file that it names; *mtime*, in seconds since 1970, is when the file there was changed. *name* is
    what its server calls it, if that says more than the address.
    """

    size: int | None
    ranges: bool
    digests: Mapping[str, bytes] = field(default_factory=dict)
    mirrors: tuple[MirrorRef, ...] = ()
    documents: tuple[SwarmRef, ...] = ()
    mtime: float | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What a server calls a version of a document: its entity tag and date, as it sent them; "" for none."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document: its bytes, where redirects led, and its version. *data* is None where it is as it was."""

    data: bytes | None
    url: str
    version: Version = field(default_factory=Version)


@dataclass(frozen=True, slots=True)
class Gauged:
    """A file of which no server tells the length, when all of it came: *size* in bytes; *name* is as in `Probe`."""

    size: int
    version: Version
    name: str | None = None


class Sink(Protocol):
    """Where a source puts bytes. Synchronous, so that a source is never suspended half-way into the store."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Take *data* as the content's bytes from *offset* on. The buffer may be reused after the call.

        Raises StoreError when the store can't take them; a source lets that pass.
        """

    def room(self, offset: int) -> memoryview | None:
        """Return memory into which bytes from *offset* on are best received, to be handed to `write` then, or None.

        An offer: `write` takes any buffer. What is not written is as if it had never come.
        """

    def landed(self, extent: Extent) -> None:
        """Say that *extent* is in the data file, as the audience was told before: see `Audience.lend`."""


@runtime_checkable
class Certified(Protocol):
    """A sink that also takes a source's word for what it wrote."""

    def certify(self, extent: Extent) -> None:
        """Say that *extent*, written before, matched a digest that the source knows: a torrent's piece."""


TURN = 1e-9
"""See `Paced.pause`."""


@runtime_checkable
class Paced(Protocol):
    """A sink that may take bytes only so fast."""

    def pause(self) -> float:
        """Return the seconds to wait before more is received, mostly 0; after that ask again.

        `TURN`: no time, but others are to go first.
        """


async def hold(sink: Paced) -> float:
    """Wait until *sink* takes more, and return how many seconds that took: no fault of the source's."""
    began = None
    while (seconds := sink.pause()) > 0:
        began = trio.current_time() if began is None else began
        if seconds == TURN:
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(seconds)
    return 0.0 if began is None else trio.current_time() - began


class Source(Protocol):
    """A place that can deliver extents of one content."""

    @property
    def name(self) -> str:
        """For logs and status, without credentials: "https://mirror.example.org/a/b.iso"."""

    @property
    def limits(self) -> Limits:
        """How it likes to be used; may change as it is learned."""

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        """Deliver every byte of *extent* to *sink*, in order for mirrors, or raise SourceError.

        *priority* is a hint: mirrors ignore it, swarms turn it into deadlines. If cancelled, bytes
        already written stay.
        """


class Transport(Protocol):
    """What the sources of one protocol share: pools, sessions, threads."""

    @property
    def schemes(self) -> frozenset[str]:
        """URL schemes it serves, lower case."""

    def source(self, ref: MirrorRef, content: Content) -> Source:
        """Return the source that *ref* is for *content*. Touches no network."""

    async def probe(self, ref: MirrorRef) -> Probe:
        """Ask what *ref* has. Raises SourceError."""

    def warm(self, ref: MirrorRef) -> None:
        """Connect ahead of a first read, if that is worth it here. Returns at once and never fails."""

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Keep what it shares alive until cancelled; close it then."""


@runtime_checkable
class Loader(Protocol):
    """A transport that can fetch a document whose length no one knows, and ask whether it has changed."""

    async def load(
        self, url: str, most: int, *, wanted: Callable[[bytes], bool] | None = None, known: Version | None = None
    ) -> Loaded | None:
        """Return the document at *url*. Raises SourceError, also where it has more than *most* bytes.

        *wanted* is asked once, with its first 4 KiB or all of it; None comes back where that says no. With
        *known*, the version that is here, `Loaded.data` is None where the server has that still.
        """


@runtime_checkable
class Gauge(Transport, Protocol):
    """A transport that can deliver a file whose length its server does not tell."""

    async def gauge(self, ref: MirrorRef, sink: Sink, known: Version | None) -> Gauged | None:
        """Deliver all of what *ref* has to *sink*, from 0 on; return what that told.

        None, and nothing delivered, where the server has the version *known* still. Raises SourceError; what the sink
        raises passes.
        """


class Holdings(Protocol):
    """What the store has of a content, as far as a swarm is concerned: it is not fetched, and given to others."""

    @property
    def key(self) -> ContentKey:
        """The content's."""

    @property
    def verified(self) -> ExtentSet:
        """What is known to be good, now."""

    @property
    def filed(self) -> ExtentSet:
        """What is known to be good and in the data file: where that lies on a full disk memory may hold the rest."""

    @property
    def there(self) -> ExtentSet:
        """What need not be fetched: known to be good, or to be judged when somebody comes to it."""

    @property
    def path(self) -> Path:
        """The data file."""


class Audience(Protocol):
    """Whom a joined source tells what happens between fetches, and asks for the data file."""

    def remark(self, source: str, what: str) -> None:
        """Take in that *source* saw *what*: for the user."""

    def poke(self) -> None:
        """Take in that the limits of a source changed."""

    def lends(self) -> bool:
        """Say whether `lend` would work now.

        Not where other sources bring bytes too, where something here has to be judged first, or where the rest would
        find no room.
        """

    def lend(self, loose: Iterable[Extent], recalled: Callable[[], None]) -> bool:
        """Let the source write the data file itself, wherever nothing is `Holdings.there`; say whether it may.

        What is here of *loose* goes first. *recalled* is called before anything else goes that is there: the source
        writes no more then, and says `returned`, as at any other end.
        """

    def crowded(self) -> None:
        """Take in that the disk had no room for what the source wanted to write."""

    def brought(self, source: str, extent: Extent) -> None:
        """Take in that *source*, which the data file is lent to, has put *extent* there and found it good."""

    async def own(self) -> None:
        """Return once the data file is lent to nobody: until then what a sink is given is lost."""

    def returned(self) -> None:
        """Take in that nobody else writes to the data file any more."""


@runtime_checkable
class Joined(Protocol):
    """A source that takes part in something for as long as its content is in use."""

    @property
    def trouble(self) -> str | None:
        """What keeps it from delivering now; None when nothing does."""

    def join(self, holdings: Holdings, audience: Audience) -> None:
        """Begin to look for others. Returns at once and never fails."""

    def leave(self) -> None:
        """Look for nobody any more; what is here may still be given to others."""

    def beside(self, *, mirrors: bool) -> None:
        """Take in whether *mirrors* bring the content too, from now on."""

    def seek(self) -> None:
        """Take in that a reader waits, for whatever source: look for others, if nobody is there to be asked."""

    def hasten(self, extent: Extent) -> None:
        """Take in that a reader waits for *extent* now, which may be on its way with a lower priority."""


class Swarms(Protocol):
    """What the sources of all torrents share."""

    def source(self, ref: SwarmRef, content: Content) -> Source | None:
        """Return the source that *ref* is for *content*; None where it leads to no torrent. Touches no network."""

    async def resolve(self, ref: SwarmRef) -> Descriptor:
        """Return the torrent that the magnet link *ref* leads to. Raises SourceError when nobody has it in time."""
