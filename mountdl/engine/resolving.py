"""Find out what a descriptor leaves open: by the documents that it names, else by asking mirrors.

Law: nothing here makes an entry worse. A document that can't be had, is about another file or contradicts the
descriptor is passed over; documents that documents name are not followed.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import trio

from mountdl.descriptors import learned, parse, thex
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import METALINKS, TORRENT, Descriptor, Entry, MirrorRef, SwarmRef
from mountdl.descriptors.thex import THEX
from mountdl.engine import documents
from mountdl.engine.addresses import Transports, scheme
from mountdl.errors import (
    ContentUnavailable,
    ContentUnreachable,
    ContentUntold,
    DescriptorError,
    SourceError,
    SourceRefused,
    SourceUnavailable,
)
from mountdl.sources.base import Loaded, Probe, Swarms, Transport, Version

log = logging.getLogger(__name__)

PROBES = 4
"""Mirrors asked for a size before giving up for now."""
DOCUMENTS = 2
"""Documents of a file followed before its mirrors are asked."""
NO_SWARMS = "only BitTorrent leads to it, which needs libtorrent: pip install libtorrent"
_AT_ONCE = 2
"""Documents held at a time: each may be 16 MiB, and ten times that while it is read."""

Prefer = Callable[[Descriptor], Descriptor]
"""A descriptor as the user prefers it. Pure."""


def anything(descriptor: Descriptor) -> Descriptor:
    """Prefer nothing."""
    return descriptor


class Resolver:
    """Asks by *transports* and by `swarms`, once there are any; *prefer* orders what is learned."""

    def __init__(self, transports: Transports, prefer: Prefer = anything) -> None:
        self._transports, self._prefer = transports, prefer
        self.swarms: Swarms | None = None
        self._slots = trio.CapacityLimiter(_AT_ONCE)

    async def resolve(self, entry: Entry) -> Learned | None:
        """Return what documents and the best answering mirror of *entry* tell.

        None when none tells the size. Raises ContentUnavailable when there is nobody to ask, or none tells,
        ContentUnreachable when none answers.
        """
        reasons: list[str] = []
        found = await self._followed(entry, learned.documents(entry), reasons)
        if found is not None and found.size is not None:
            return _learned(found, found.size)
        if entry.size is not None:
            raise ContentUnavailable("; ".join(reasons) or "no document tells more of it")
        magnets = [ref for ref in entry.swarms if ref.mediatype == TORRENT] if not entry.mirrors else []
        if magnets:
            return await self._joined(magnets[0], reasons)
        return await self._probed(found or entry, reasons)

    async def _joined(self, ref: SwarmRef, reasons: list[str]) -> Learned:
        """Return what the torrent that *ref* leads to says of all its files."""
        if self.swarms is None:
            raise ContentUntold(NO_SWARMS)
        try:
            said = await self.swarms.resolve(ref)
        except SourceRefused as error:
            raise ContentUntold("; ".join([*reasons, str(error)])) from error
        except (SourceError, DescriptorError) as error:
            raise ContentUnavailable("; ".join([*reasons, str(error)])) from error
        return Learned(sum(each.size or 0 for each in said.entries), torrent=said)

    async def reload(self, url: str, known: Version | None) -> tuple[Descriptor | None, Version]:
        """Return what the descriptor at *url* says now and its version; None where that is still *known*.

        Raises SourceError or DescriptorError.
        """
        transport = self._transports.of(url)
        if transport is None:
            raise DescriptorError("unsupported", f"addresses that begin with {scheme(url)}: can't be asked")
        async with self._slots:
            loaded = await documents.load(transport, url, known)
            if loaded.data is None:
                return None, loaded.version
            said = await trio.to_thread.run_sync(self._read, documents.name_in(url), loaded)
        return said, loaded.version

    async def _probed(self, entry: Entry, reasons: list[str]) -> Learned | None:
        silent, answered = not reasons, False
        for ref in entry.mirrors[:PROBES]:
            transport = self._transports.of(ref.url)
            if transport is None:
                continue
            try:
                probe = await transport.probe(ref)
            except SourceError as error:
                log.info("size of %s: %s", entry.path, error)
                reasons.append(str(error))
                silent = silent and isinstance(error, SourceUnavailable) and error.retry_after is None
                continue
            if probe.size is not None:
                return await self._told(entry, probe, probe.size)
            answered = True
        if not entry.mirrors:
            reasons = reasons or ["it names no mirror that can be asked for its size"]
        if reasons and not answered:
            kind = ContentUnreachable if silent and entry.mirrors else ContentUnavailable
            raise kind("; ".join(reasons))
        return None

    async def _told(self, entry: Entry, probe: Probe, size: int) -> Learned:
        """Return what *probe* told of *entry*, and what a metalink says that it named (RFC 6249 section 4)."""
        named = [ref for ref in probe.documents if ref.mediatype in METALINKS]
        torrents = tuple(ref for ref in probe.documents if ref not in named)
        told = Learned(size, probe.digests, self._ordered(entry, probe.mirrors), swarms=torrents, name=probe.name)
        # As with digests and mirrors, a descriptor that says more than addresses is not overruled.
        if entry.digests or entry.pieces is not None or not named:
            return told
        plain = learned.completed(entry, told)
        found = await self._followed(plain, named, [])
        return told if found is None else replace(_learned(found, size), name=probe.name)

    def _ordered(self, entry: Entry, mirrors: tuple[MirrorRef, ...]) -> tuple[MirrorRef, ...]:
        """Return *mirrors*, which a server named with their places, in the order that the user prefers."""
        preferred = self._prefer(Descriptor("headers", (replace(entry, mirrors=mirrors),))).entries
        return preferred[0].mirrors if preferred else mirrors

    async def _followed(self, entry: Entry, named: Sequence[SwarmRef], reasons: list[str]) -> Entry | None:
        """Return *entry* with what the first good one of its documents says; None, with *reasons*, if none is."""
        for ref in named[:DOCUMENTS]:
            try:
                return await self._follow(entry, ref)
            except (SourceError, DescriptorError) as error:
                where = f"{ref.mediatype} document that {entry.path} names"
                log.info("the %s is of no use: %s", where, error)
                reasons.append(f"the {where}: {error}")
        return None

    async def _follow(self, entry: Entry, ref: SwarmRef) -> Entry:
        transport = self._transports.of(ref.url)
        if transport is None:
            raise DescriptorError("unsupported", f"addresses that begin with {scheme(ref.url)}: can't be followed")
        if ref.mediatype == THEX:
            return await self._grown(entry, transport, ref)
        async with self._slots:
            loaded = await documents.load(transport, ref.url)
            said = await trio.to_thread.run_sync(self._read, "document.meta4", loaded)
        if not said.kind.startswith("metalink"):
            raise DescriptorError("not-metalink", "it is no metalink")
        known = {each.url for each in entry.swarms if each.mediatype in METALINKS}
        found = learned.taught(entry, said, ref.name)
        # One level: what it names in turn is not followed, so that no loop can come of it.
        deeper = (each for each in found.swarms if each.mediatype not in METALINKS or each.url in known)
        return replace(found, swarms=tuple(deeper))

    async def _grown(self, entry: Entry, transport: Transport, ref: SwarmRef) -> Entry:
        """Return *entry* with digests of its pieces from the tree of hashes that the server at *ref* names."""
        probe = await transport.probe(MirrorRef(ref.url))
        named = next((each for each in probe.documents if each.mediatype == THEX), None)
        if named is None or entry.size is None:
            raise DescriptorError("bad-tree", "its server names no tree of hashes")
        async with self._slots:
            loaded = await documents.load(transport, named.url)
            pieces = await trio.to_thread.run_sync(thex.pieces, loaded.data or b"", entry.digests["tth"], entry.size)
        return replace(entry, pieces=pieces)

    def _read(self, name: str, loaded: Loaded) -> Descriptor:
        """In a thread: read a document."""
        return self._prefer(parse(name, loaded.data or b"", base_url=loaded.url))


def _learned(found: Entry, size: int) -> Learned:
    return Learned(size, found.digests, found.mirrors, found.pieces, found.swarms, described=True)
