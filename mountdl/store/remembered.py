"""What was learned of files whose descriptors say too little, kept for when nobody can be asked.

Law: it is a cache of answers. What can't be read, or is not what was written, is as if it had never been; a
failure to write costs a question at the next mount. Known by key; blocking: for worker threads. The form is in
docs/formats.md.
"""

import base64
import json
import logging
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mountdl.descriptors import names, urls
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import LOWEST_PRIORITY, MirrorRef, PieceDigests, SwarmRef
from mountdl.integrity import digest_length
from mountdl.store.place import is_key

log = logging.getLogger(__name__)

MOST_REMEMBERED = 10_000
"""Files of which something is remembered; those that were not asked about for longest go first."""
LONGEST = 24 << 20
"""Bytes of what is remembered of one: a document's piece digests are 16 MiB at most."""
_VERSION = 1
_SUFFIX = ".json"


class Remembered:
    """What is kept below *directory*, which is made when something is."""

    def __init__(self, directory: Path, most: int = MOST_REMEMBERED) -> None:
        self._directory, self._most = directory, most
        self._count: int | None = None

    def recall(self, key: str) -> Learned | None:
        """Return what was learned of *key*, marked as remembered, or None. Never fails."""
        if not is_key(key):
            return None
        try:
            fd = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                data = file.read(LONGEST + 1)
            return None if len(data) > LONGEST else _decoded(key, data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, urls.UrlRefused) as error:
            log.info("what is remembered of %s can't be used: %s", key, type(error).__name__)
            return None

    def keep(self, key: str, learned: Learned) -> None:
        """Keep what was *learned* of *key*, but for torrents, which are kept elsewhere. Never fails."""
        if learned.torrent is not None:
            return
        data = _encoded(key, learned)
        if not is_key(key) or len(data) > LONGEST:
            return
        path = self._path(key)
        fresh = path.with_suffix(".new")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            there = path.exists()
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            fresh.rename(path)
            self._bound(0 if there else 1)
        except OSError as error:
            log.info("%s can't be remembered: %s", key, error.strerror)
            with suppress(OSError):
                fresh.unlink()

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}{_SUFFIX}"

    def _bound(self, more: int) -> None:
        """Take note of *more* files and remove the oldest beyond the limit, a tenth of all at a time."""
        self._count = self._counted() if self._count is None else self._count + more
        if self._count <= self._most:
            return
        with os.scandir(self._directory) as found:
            oldest = sorted((each.stat(follow_symlinks=False).st_mtime_ns, each.path) for each in found)
        for _, path in oldest[: len(oldest) - self._most + self._most // 10]:
            os.unlink(path)  # noqa: PTH108  # a path as text
        self._count = None

    def _counted(self) -> int:
        with os.scandir(self._directory) as found:
            return sum(1 for _ in found)


def _encoded(key: str, learned: Learned) -> bytes:
    pieces = learned.pieces
    fields = {
        "version": _VERSION,
        "gauged": learned.version,
        "name": learned.name,
        "key": key,
        "size": learned.size,
        "digests": {name: value.hex() for name, value in learned.digests.items()},
        "mirrors": [[ref.url, ref.priority, ref.location, ref.max_connections] for ref in learned.mirrors],
        "swarms": [[ref.url, ref.mediatype, ref.name, ref.priority] for ref in learned.swarms],
        "pieces": None
        if pieces is None
        else [pieces.algorithm, pieces.length, base64.b64encode(pieces.digests).decode(), pieces.lead, pieces.open_end],
        "described": learned.described,
    }
    return json.dumps(fields).encode()


def _decoded(key: str, data: bytes) -> Learned:
    """Return what *data* says. Raises whatever its faults lead to."""
    fields: dict[str, Any] = json.loads(data)
    if fields["version"] != _VERSION or fields["key"] != key:
        raise ValueError("it is another key's, or of another version")
    digests = {str(name): bytes.fromhex(value) for name, value in fields["digests"].items()}
    if any(len(value) != digest_length(name) for name, value in digests.items()):
        raise ValueError("a digest is not one")
    mirrors = tuple(
        MirrorRef(
            urls.absolute(url),
            _positive(priority, LOWEST_PRIORITY),
            location,
            None if limit is None else _positive(limit),
        )
        for url, priority, location, limit in fields["mirrors"]
    )
    swarms = tuple(SwarmRef(urls.printable(url), *rest) for url, *rest in fields["swarms"])
    return Learned(
        _whole(fields["size"]),
        digests,
        mirrors,
        _pieces(fields["pieces"]),
        swarms,
        described=bool(fields["described"]),
        remembered=True,
        version=_version(fields.get("gauged")),
        name=_name(fields.get("name")),
    )


def _pieces(given: Any) -> PieceDigests | None:
    if given is None:
        return None
    algorithm, length, packed, lead, open_end = given
    found = PieceDigests(algorithm, _positive(length), base64.b64decode(packed, validate=True))
    if len(found.digests) % digest_length(algorithm):
        raise ValueError("the pieces are not whole")
    return replace(found, lead=_whole(lead), open_end=bool(open_end))


def _version(given: Any) -> tuple[str, str] | None:
    if given is None:
        return None
    etag, modified = given
    if not (isinstance(etag, str) and isinstance(modified, str) and (etag + modified).isprintable()):
        raise ValueError("not what a server calls a version")
    return etag, modified


def _name(given: Any) -> str | None:
    if given is not None and not (isinstance(given, str) and names.safe_component(given)):
        raise ValueError("not a name")
    return given


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("not a number")
    return value


def _positive(value: Any, most: int = 1 << 63) -> int:
    if not 1 <= _whole(value) <= most:
        raise ValueError("not a positive number")
    return int(value)
