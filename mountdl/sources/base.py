"""What the engine and the protocols agree on.

A source knows neither store, chunks, digests nor who wants what: it gets an extent, a sink and a
hint of priority, and raises `SourceError` when it can't deliver.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import trio

from mountdl.content import Content
from mountdl.descriptors.model import MirrorRef, SwarmRef
from mountdl.extents import Extent
from mountdl.priorities import Priority


@dataclass(frozen=True, slots=True)
class Limits:
    """How a source likes to be used.

    *parallel* flights at most; *host* is what connection limits are counted by ("mirror.example.org:443");
    *sequential*: it can only deliver from offset 0 on (a server without ranges).
    """

    parallel: int
    host: str
    sequential: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """What a cheap question to a mirror told: *size* in bytes if it says one, *ranges* if it serves them.

    *mirrors* are other places that it names (RFC 6249), only where *digests* can check them; *documents* are
    metadata of the file that it names.
    """

    size: int | None
    ranges: bool
    digests: Mapping[str, bytes] = field(default_factory=dict)
    mirrors: tuple[MirrorRef, ...] = ()
    documents: tuple[SwarmRef, ...] = ()


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
        """Say that *extent* is already in the data file (for a swarm that writes it itself)."""


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
