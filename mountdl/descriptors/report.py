"""What a descriptor says, for programs and for people. Pure.

The shapes are those that `mountdl inspect --json` promises, without "path", which only the command knows.
"""

import hashlib
from collections.abc import Callable, Iterator

from mountdl.descriptors.cautions import printable
from mountdl.descriptors.model import (
    LOWEST_PRIORITY,
    Caution,
    Descriptor,
    Entry,
    HeaderFindings,
    Magnet,
    PieceDigests,
    Signature,
    Torrent,
    UriGroup,
)
from mountdl.integrity import digest_length, strongest

Json = dict[str, object]

_UNUSED = frozenset(
    {
        "header",
        "user-agent",
        "referer",
        "load-cookies",
        "http-user",
        "http-passwd",
        "ftp-user",
        "ftp-passwd",
        "all-proxy",
        "http-proxy",
        "https-proxy",
        "ftp-proxy",
        "check-certificate",
        "ca-certificate",
        "certificate",
        "private-key",
    }
)
"""Options that a list may give to aria2 for one file, without which it would not get it; here they are a mount's."""


def describe(descriptor: Descriptor) -> Json:
    """Return *descriptor* as the JSON values of `mountdl inspect --json`."""
    return {name: list(value) if isinstance(value, Iterator) else value for name, value in parts(descriptor)}


def parts(descriptor: Descriptor) -> Iterator[tuple[str, object]]:
    """Yield names and values of `describe`, with an iterator for each list that may be long."""
    yield "kind", descriptor.kind
    yield from _BODIES[descriptor.kind](descriptor).items()
    yield "warnings", map(warning, descriptor.cautions)


def _metalink(descriptor: Descriptor) -> Json:
    return {
        "version": descriptor.version,
        "origin": descriptor.origin,
        "dynamic": descriptor.dynamic,
        "files": map(_file, descriptor.entries),
    }


def _magnets(descriptor: Descriptor) -> Json:
    return {"entries": map(_magnet, descriptor.magnets)}


def _groups(descriptor: Descriptor) -> Json:
    return {"entries": ({"urls": list(group.urls), "options": _options(group)} for group in descriptor.groups)}


def _options(group: UriGroup) -> Json:
    """Return the options by name; one that is given several times has a list of values."""
    found: dict[str, list[str]] = {}
    for name, value in group.options:
        found.setdefault(name, []).append(value)
    return {name: given if len(given) > 1 else given[0] for name, given in found.items()}


def _link(descriptor: Descriptor) -> Json:
    link = descriptor.link
    return {} if link is None else {"url": link.url, "metalink": link.metalink}


def _headers(descriptor: Descriptor) -> Json:
    found = descriptor.headers or HeaderFindings()
    return {
        "digests": {name: value.hex() for name, value in found.digests.items()},
        "duplicates": [
            {
                "url": each.url,
                "priority": each.priority,
                "location": each.location,
                "pref": each.preferred,
                "depth": each.depth,
            }
            for each in found.duplicates
        ],
        "describedby": [{"url": each.url, "type": each.mediatype} for each in found.described_by],
    }


def _torrent(descriptor: Descriptor) -> Json:
    found = descriptor.torrent
    if found is None:
        return {}
    return {
        "info_hash": {"v1": _hex(found.info_hash_v1), "v2": _hex(found.info_hash_v2)},
        "files": ({"path": str(file.path), "size": file.size, "offset": file.offset} for file in found.files),
        "piece_length": found.piece_length,
        "piece_count": found.piece_count,
        "trackers": [list(tier) for tier in found.trackers],
        "private": found.private,
        "webseed_urls": {str(file.path): list(file.urls) for file in found.files if file.urls},
    }


_BODIES: dict[str, Callable[[Descriptor], Json]] = {
    "metalink3": _metalink,
    "metalink4": _metalink,
    "magnet": _magnets,
    "urilist": _groups,
    "link": _link,
    "headers": _headers,
    "torrent": _torrent,
}


def warning(caution: Caution) -> Json:
    """Return *caution* as the JSON values of a warning."""
    found: Json = {"code": caution.code, "message": caution.message}
    if caution.file is not None:
        found["file"] = caution.file
    return found


def _file(entry: Entry) -> Json:
    best = strongest(entry.digests)
    return {
        "name": str(entry.path),
        "size": entry.size,
        "hashes": {name: value.hex() for name, value in entry.digests.items()},
        "strongest": None if best is None else best.algorithm,
        "pieces": None if entry.pieces is None else _pieces(entry.pieces),
        "urls": [{"url": ref.url, "priority": ref.priority, "location": ref.location} for ref in entry.mirrors],
        "metaurls": [
            {"url": ref.url, "mediatype": ref.mediatype, "name": ref.name, "priority": ref.priority}
            for ref in entry.swarms
        ],
        "maxconnections": entry.max_connections,
        "languages": list(entry.languages),
        "os": list(entry.os),
        "version": entry.version,
        "signature": None if entry.signature is None else _signature(entry.signature),
    }


def _pieces(pieces: PieceDigests) -> Json:
    width = digest_length(pieces.algorithm)
    return {
        "algo": pieces.algorithm,
        "length": pieces.length,
        "count": pieces.count,
        "first": pieces.digests[:width].hex() or None,
        "last": pieces.digests[-width:].hex() or None,
    }


def _signature(signature: Signature) -> Json:
    text = hashlib.sha256(signature.text.encode()).hexdigest()
    return {"kind": signature.mediatype, "text_sha256": text, "name": signature.name}


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _magnet(magnet: Magnet) -> Json:
    return {
        "name": magnet.name,
        "size": magnet.size,
        "btih": _hex(magnet.btih),
        "btmh": _hex(magnet.btmh),
        "hashes": {name: value.hex() for name, value in magnet.digests.items()},
        "trackers": list(magnet.trackers),
        "webseeds": list(magnet.web_seeds),
        "sources": [ref.url for ref in magnet.sources],
        "torrent_urls": list(magnet.torrent_urls),
        "peers": list(magnet.peers),
        "select": None if magnet.select is None else list(magnet.select),
        "btpk": _hex(magnet.public_key),
        "salt": _hex(magnet.salt),
        "verify": magnet.verify,
    }


def text_lines(descriptor: Descriptor) -> Iterator[str]:
    """Yield *descriptor* as lines for people, one by one: 100,000 files with their mirrors take 100 MB."""
    yield f"kind: {descriptor.kind}"
    if descriptor.origin:
        yield f"origin: {descriptor.origin}{' (dynamic)' if descriptor.dynamic else ''}"
    if descriptor.torrent is not None:
        yield from _torrent_lines(descriptor.torrent)
    if descriptor.headers is not None:
        yield from (f"duplicate: {each.url} (priority {each.priority})" for each in descriptor.headers.duplicates)
    for magnet in descriptor.magnets:
        yield from ("", *_lines(_magnet(magnet)))
    if descriptor.kind != "magnet":
        for entry in descriptor.entries:
            yield from ("", *_entry_lines(entry))
    unused = sorted(_UNUSED.intersection(name for group in descriptor.groups for name, _ in group.options))
    if unused:
        yield ""
        yield f"not used: {', '.join(unused)}; give these to mountdl as options"
    if descriptor.cautions:
        yield ""
        yield from map(_warning_line, descriptor.cautions)


def _torrent_lines(torrent: Torrent) -> Iterator[str]:
    for version, value in (("v1", torrent.info_hash_v1), ("v2", torrent.info_hash_v2)):
        if value is not None:
            yield f"info-hash {version}: {value.hex()}"
    yield f"pieces: {torrent.piece_count} of {torrent.piece_length} bytes"
    for tier, trackers in enumerate(torrent.trackers):
        yield from (f"tracker: {tracker} (tier {tier})" for tracker in trackers)
    if torrent.private:
        yield "private: only its trackers may know who shares it"


def _entry_lines(entry: Entry) -> Iterator[str]:
    yield f"file: {printable(str(entry.path))}"
    yield f"  size: {'unknown' if entry.size is None else f'{entry.size} bytes'}"
    best = strongest(entry.digests)
    for name, value in entry.digests.items():
        yield f"  {name}: {value.hex()}{' (strongest)' if best is not None and best.algorithm == name else ''}"
    if entry.pieces is not None:
        yield f"  pieces: {entry.pieces.count} of {entry.pieces.length} bytes, {entry.pieces.algorithm}"
    for mirror in entry.mirrors:
        yield f"  url: {mirror.url} ({_rank(mirror.priority)}{f', {mirror.location}' if mirror.location else ''})"
    for swarm in entry.swarms:
        inside = f", {printable(swarm.name)}" if swarm.name else ""
        yield f"  metaurl: {swarm.url} ({swarm.mediatype}, {_rank(swarm.priority)}{inside})"
    traits = {"version": entry.version, "language": ", ".join(entry.languages), "os": ", ".join(entry.os)}
    yield from (f"  {name}: {printable(value)}" for name, value in traits.items() if value)
    if entry.max_connections is not None:
        yield f"  maxconnections: {entry.max_connections}"
    if entry.signature is not None:
        yield f"  signature: {printable(entry.signature.name)} ({entry.signature.mediatype})"


def _lines(values: Json) -> Iterator[str]:
    """Yield a line for each value that says anything, one for each of a list's."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from (f"  {name}: {printable(str(key))}: {printable(str(each))}" for key, each in value.items())
        elif isinstance(value, list) and value and isinstance(value[0], int):
            yield f"  {name}: {', '.join(map(str, value))}"
        elif isinstance(value, list):
            yield from (f"  {name}: {printable(str(each))}" for each in value)
        elif value is not None:
            yield f"  {name}: {printable(str(value))}"


def _warning_line(caution: Caution) -> str:
    where = "" if caution.file is None else f"{printable(caution.file)}: "
    return f"warning: {where}{caution.message} [{caution.code}]"


def _rank(priority: int) -> str:
    return "no priority" if priority == LOWEST_PRIORITY else f"priority {priority}"
