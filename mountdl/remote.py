"""A SOURCE that is no path: a URL of a descriptor or of a plain file, or a magnet link.

It becomes a folder with one descriptor in it, which is then a source like any other.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape, quoteattr

from mountdl.engine.documents import look
from mountdl.errors import ExitStatus, SourceError, UsageError
from mountdl.sources.base import Probe, Transport


def is_remote(source: str) -> bool:
    """Say whether *source* is a URL or a magnet link rather than a path."""
    return "://" in source or source.lower().startswith("magnet:")


async def place(source: str, folder: Path, transports: list[Transport]) -> None:
    """Put into *folder* the descriptor that *source* is or leads to. Raises UsageError."""
    if source.lower().startswith("magnet:"):
        (folder / "link.magnet").write_text(source + "\n")
        return
    scheme = urlsplit(source).scheme.lower()
    transport = next((each for each in transports if scheme in each.schemes), None)
    if transport is None:
        known = ", ".join(sorted(name for each in transports for name in each.schemes))
        raise UsageError(f"{source}: addresses that begin with {scheme}: can't be mounted, only {known}")
    try:
        probe, document = await look(transport, source)
    except SourceError as error:
        raise UsageError(f"can't mount {error}", ExitStatus.NOT_FOUND) from error
    name = name_of(source)
    if document is None:
        (folder / f"{name}.meta4").write_text(described(name, source, probe))
    else:
        known_suffix = name.lower().endswith((".meta4", ".metalink", ".magnet", ".torrent"))
        (folder / (name if known_suffix else f"{name}.meta4")).write_bytes(document)


def name_of(url: str) -> str:
    """Return a file name for what *url* leads to."""
    name = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2], errors="replace")
    name = "".join("_" if ch in "/\\" or ord(ch) < 32 or ord(ch) == 127 else ch for ch in name)
    return name[-200:].lstrip(".") or "file"


def described(name: str, url: str, probe: Probe) -> str:
    """Return a Metalink 4 document for a plain file. UsageError when its server does not say its size."""
    if probe.size is None:
        raise UsageError(f"{url}: the server does not say how long the file is, so it can't be shown")
    hashes = "".join(
        f"<hash type={quoteattr(algorithm)}>{value.hex()}</hash>" for algorithm, value in probe.digests.items()
    )
    return (
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink">'
        f"<file name={quoteattr(name)}><size>{probe.size}</size>{hashes}<url>{escape(url)}</url></file></metalink>\n"
    )
