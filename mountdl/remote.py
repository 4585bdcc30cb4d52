"""A SOURCE that is no path: a URL of a descriptor or of a plain file, a magnet link, or a link with a metalink's URL.

It becomes a folder with one descriptor in it, which is then a source like any other.
"""

import logging
import os
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

import trio

from mountdl.descriptors import SUFFIXES, links, parse, urls
from mountdl.descriptors.model import Descriptor
from mountdl.descriptors.urls import UrlRefused
from mountdl.engine.documents import look, name_in
from mountdl.engine.status import status_of
from mountdl.errors import DescriptorError, ExitStatus, SourceError, UsageError, write_status
from mountdl.settings import is_remote
from mountdl.sources.base import Gauge, Loaded, Probe, Transport

log = logging.getLogger(__name__)


def shown(source: str) -> str:
    """Return *source* as everybody may see it: no user name, password, query or fragment; of a magnet link, topics."""
    if not is_remote(source):
        return source
    if source.lower().startswith("magnet:"):
        plain, _, query = source.partition("#")[0].partition("?")
        topics = [part for part in query.split("&") if re.match(r"xt(\.\d+)?=", part)]
        return f"{plain}?{'&'.join(topics)}" if topics else plain
    return urls.shown(source)


def scratch(source: str) -> TemporaryDirectory[str]:
    """Return a folder that goes with its context, for descriptors that *source* is or leads to. Raises UsageError."""
    try:
        return TemporaryDirectory(prefix="mountdl-")
    except OSError as error:
        what = f"{shown(source)}: no temporary directory can be made: {error.strerror}"
        raise UsageError(f"{what}; free some room, or set TMPDIR", write_status(error)) from error


def plain(source: str) -> bool:
    """Say whether HTTP is all that it takes to `place` *source*."""
    return source.lower().startswith(("http:", "https:")) and "#!" not in source


async def place(source: str, folder: Path, transports: list[Transport]) -> str | None:
    """Put into *folder* the descriptor that *source* is or leads to; return where it was found, None for nowhere.

    Relative URLs in it are relative to that (RFC 3986 section 5.1.3: where redirects led). Raises UsageError, whose
    text begins with what can't be had.
    """
    if source.lower().startswith("magnet:"):
        link = os.fsencode(source) + b"\n"
        try:
            parse("link.magnet", link)
        except DescriptorError as error:
            raise UsageError(f"{shown(source)}: {error} ({error.kind})", error.exit_status) from error
        put(folder, "link.magnet", link)
        return None
    try:
        plain, metalink = links.split(source)
    except UrlRefused as refusal:
        raise UsageError(f"{shown(source)}: {refusal}") from refusal
    if metalink is not None and (found := await _place_linked(metalink, folder, transports)):
        return found
    name = name_of(plain)
    transport = _transport(plain, transports)
    try:
        probe, document = await look(transport, plain)
    except SourceError as error:
        raise UsageError(str(error), status_of([error.reason], error.exit_status)) from error
    if document is None:
        _refuse_excuse(plain, name)
        if probe.size is None and not isinstance(transport, Gauge):
            raise UsageError(f"{shown(plain)}: its server does not say how long the file is, which has to be known")
        name = name if probe.name is None else _fit(probe.name)
        put(folder, f"{name}.meta4", described(name, plain, probe).encode())
        return None
    put(folder, *await _good(name if probe.name is None else _fit(probe.name), document))
    return document.url


_CALLED = {
    ".meta4": ("metalink", ExitStatus.BAD_METALINK),
    ".metalink": ("metalink", ExitStatus.BAD_METALINK),
    ".torrent": ("torrent", ExitStatus.BAD_TORRENT),
    ".magnet": ("magnet link", ExitStatus.BAD_MAGNET),
}
"""What files of these names are, and the status of those that are not."""


def _refuse_excuse(url: str, name: str) -> None:
    """Raise UsageError where *name* is that of a descriptor: what came is more likely a page that says sorry."""
    kind, status = _CALLED.get(PurePosixPath(name).suffix.lower(), ("", ExitStatus.OK))
    if kind:
        raise UsageError(f"{shown(url)}: what is there is no {kind}", status)


async def _good(name: str, document: Loaded) -> tuple[str, bytes]:
    """Return the name to put the descriptor *document*, called *name*, under, and its bytes.

    Raises UsageError when it can't be used.
    """
    data = document.data or b""
    try:
        # In a thread, as it may be 128 MiB. It is read again by who watches the folder, with what users prefer.
        said = await trio.to_thread.run_sync(partial(parse, _called(name), data, base_url=document.url))
    except DescriptorError as error:
        raise UsageError(f"{shown(document.url)}: {error} ({error.kind})", error.exit_status) from error
    return _unassuming(name, said), data


def _unassuming(name: str, said: Descriptor) -> str:
    """Return *name*, by which no file will be called that is of another type: `download.php` names no film.

    What *said* names as one file may be called like its descriptor, where that has no descriptor's suffix.
    """
    suffix = PurePosixPath(name).suffix.lower()
    files = [each.path.name for each in said.entries] or [each.name for each in said.magnets]
    if suffix in SUFFIXES or [suffix] == [PurePosixPath(each).suffix.lower() for each in files]:
        return name
    return name.replace(".", "_")


async def _place_linked(url: str, folder: Path, transports: list[Transport]) -> str | None:
    """Put the metalink at *url* into *folder*; return where it was, None where none is: the plain file will do."""
    try:
        document = (await look(_transport(url, transports), url))[1]
        if document is None:
            log.warning("what the link calls a metalink is none, so its plain address is taken")
            return None
        put(folder, *await _good(name_of(url), document))
    except (SourceError, UsageError) as error:
        log.warning("the link's metalink can't be had, so its plain address is taken: %s", error)
        return None
    return document.url


def put(folder: Path, name: str, document: bytes) -> None:
    """Write *document* into *folder* under a name that is a descriptor's, so that it is found. Raises UsageError."""
    try:
        (folder / _called(name)).write_bytes(document)
    except OSError as error:
        raise UsageError(f"{name}: can't be written into {folder}: {error.strerror}", write_status(error)) from error


def _called(name: str) -> str:
    return name if PurePosixPath(name).suffix.lower() in SUFFIXES else f"{name}.meta4"


def _transport(url: str, transports: list[Transport]) -> Transport:
    scheme = urlsplit(url).scheme.lower()
    found = next((each for each in transports if scheme in each.schemes), None)
    if found is None:
        known = ", ".join(sorted(name for each in transports for name in each.schemes))
        raise UsageError(f"{shown(url)}: addresses that begin with {scheme}: lead nowhere, only {known}")
    return found


def name_of(url: str) -> str:
    """Return a file name for what *url* leads to."""
    return _fit(name_in(url))


def _fit(name: str) -> str:
    """Return *name* as the name of a file in a descriptor."""
    # XML has no way to say U+FFFE and U+FFFF; 200 bytes leave room for a suffix among the 255 of a name.
    name = "".join("_" if ch in "/\\\ufffe\uffff" or ord(ch) < 32 or ord(ch) == 127 else ch for ch in name)
    return name.encode()[-200:].decode(errors="ignore").lstrip(".") or "file"


def described(name: str, url: str, probe: Probe) -> str:
    """Return a Metalink 4 document for a plain file."""
    size = "" if probe.size is None else f"<size>{probe.size}</size>"
    hashes = "".join(
        f"<hash type={quoteattr(algorithm)}>{value.hex()}</hash>" for algorithm, value in probe.digests.items()
    )
    urls = f"<url>{escape(url)}</url>" + "".join(
        f'<url priority="{mirror.priority}">{escape(mirror.url)}</url>' for mirror in probe.mirrors if mirror.url != url
    )
    urls += "".join(
        f"<metaurl mediatype={quoteattr(ref.mediatype)}>{escape(ref.url)}</metaurl>" for ref in probe.documents
    )
    return (
        f'<metalink xmlns="urn:ietf:params:xml:ns:metalink">{_published(probe.mtime)}'
        f"<file name={quoteattr(name)}>{size}{hashes}{urls}</file></metalink>\n"
    )


def _published(mtime: float | None) -> str:
    """Return what a Metalink 4 document says of a file changed at *mtime*: a date of RFC 3339, if that is one."""
    if mtime is None or mtime < 0:
        return ""
    try:
        return f"<published>{datetime.fromtimestamp(int(mtime), UTC).isoformat()}</published>"
    except (ValueError, OverflowError, OSError):
        return ""
