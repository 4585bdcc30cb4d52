"""Fetch descriptors by their URLs, into memory, within bounds.

For a SOURCE that is a URL (what is behind it may be a descriptor, or a file that somebody wants to mount as it
is), and for what descriptors name: metalinks and torrents.
"""

from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

import trio

from mountdl.descriptors import parse, plausible
from mountdl.descriptors.limits import MAX_DOCUMENT
from mountdl.descriptors.model import Descriptor, MirrorRef
from mountdl.engine.excerpts import Remote
from mountdl.errors import DescriptorError, SourceError, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.sources.base import Loaded, Loader, Probe, Transport, Version

LARGEST_NAMED = 16 << 20
"""Bytes of a descriptor that another one names: 300,000 piece hashes, those of 75 GB in pieces of 256 KiB."""
PATIENCE = 30.0
"""Seconds for one that another names, as aria2 has it: its file may have mirrors that need not wait."""
_SNIFFED = 4096


async def look(transport: Transport, url: str) -> tuple[Probe, Loaded | None]:
    """Return what *url* has: its size and digests, and the document there if it is a descriptor.

    Raises SourceError.
    """
    probe = await transport.probe(MirrorRef(url))
    if probe.size is not None:
        return probe, await _sniffed(transport, url, probe.size)
    if not isinstance(transport, Loader):
        return probe, None
    return probe, await transport.load(url, MAX_DOCUMENT, wanted=lambda start: plausible(name_in(url), start))


async def _sniffed(transport: Transport, url: str, size: int) -> Loaded | None:
    remote = Remote(transport, url, size)
    start = await remote.read(Extent(0, _SNIFFED).clip(size))
    if not plausible(name_in(url), start):
        return None
    if size > MAX_DOCUMENT:
        raise SourceError(remote.name, f"has {size} bytes, which is too long for a descriptor")
    if isinstance(transport, Loader):
        # It alone tells where redirects led, which relative URLs in the document are relative to.
        return await transport.load(url, MAX_DOCUMENT)
    return Loaded(start + await remote.read(Extent(len(start), size)), url)


async def load(transport: Transport, url: str, known: Version | None = None) -> Loaded:
    """Return the document at *url*, that another one names. Raises SourceError, also after `PATIENCE`.

    With *known*, the version that is here, its data is None where the server says that it is the same still.
    """
    try:
        with trio.fail_after(PATIENCE):
            if isinstance(transport, Loader):
                loaded = await transport.load(url, LARGEST_NAMED, known=known)
                assert loaded is not None  # noqa: S101  # any start was wanted
                return loaded
            return await _load_by_extents(transport, url)
    except trio.TooSlowError as error:
        raise SourceUnavailable(_host(url), f"did not deliver a document within {PATIENCE:.0f} s") from error


async def _load_by_extents(transport: Transport, url: str) -> Loaded:
    size = (await transport.probe(MirrorRef(url))).size
    if size is None or size > LARGEST_NAMED:
        raise SourceRefused(_host(url), "has a document whose length is unknown or too great")
    return Loaded(await Remote(transport, url, size).read(Extent(0, size)), url)


async def torrent_at(transport: Transport, url: str, wanted: Iterable[bytes | None] = ()) -> Descriptor:
    """Return the torrent at *url*; one of the raw info-hashes *wanted* must be its, if any is given.

    Raises SourceError when it can't be had, DescriptorError when it is none or another.
    """
    data = (await load(transport, url)).data or b""
    said = await trio.to_thread.run_sync(lambda: parse("x.torrent", data, base_url=url))
    named = {each for each in wanted if each}
    found = said.torrent
    if found is None:
        raise DescriptorError("bad-torrent", "what is said to be a torrent is none")
    if named and named.isdisjoint({found.info_hash_v1, found.info_hash_v2}):
        raise DescriptorError("inconsistent", "the torrent has another info-hash than the one it is named by")
    return said


def name_in(url: str) -> str:
    """Return the last part of the path of *url*: tells what kind of document to expect."""
    return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2], errors="replace")


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
