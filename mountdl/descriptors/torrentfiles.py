"""The files of a torrent's info dictionary: names made safe, offsets, padding. Pure.

Unlike a metalink's, a torrent's names may be rewritten, for a file is known by its index. Nothing that is
hidden moves what is behind it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mountdl.descriptors import names
from mountdl.descriptors.bencode import TorrentError, Value
from mountdl.descriptors.cautions import Cautions, quoted
from mountdl.descriptors.limits import MAX_FILES

_BITCOMET_PADDING = "_____padding_file_"
_MAX_TOTAL = 1 << 63
_ROOT = 32


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as the info dictionary has it: *parts* of its path below the torrent's name, as text."""

    parts: tuple[str, ...]
    size: int
    offset: int
    attributes: str
    root: bytes | None = None

    @property
    def padding(self) -> bool:
        """Whether it only fills a piece."""
        return "p" in self.attributes or (bool(self.parts) and self.parts[-1].startswith(_BITCOMET_PADDING))

    @property
    def link(self) -> bool:
        """Whether it is a symbolic link."""
        return "l" in self.attributes


def text(value: Value | None) -> str | None:
    """Return a string as text, what is no UTF-8 in it replaced; None for anything else."""
    return value.decode(errors="replace") if isinstance(value, bytes) else None


def name_of(info: Mapping[bytes, Value]) -> str | None:
    """Return the name of the torrent; its UTF-8 variant counts first."""
    return text(info.get(b"name.utf-8")) or text(info.get(b"name"))


def version_1(info: Mapping[bytes, Value]) -> list[RawFile]:
    """Return the files of a version 1 dictionary. Raises TorrentError."""
    listed = info.get(b"files")
    if listed is None:
        return [RawFile((), _size(info.get(b"length")), 0, _attributes(info))]
    if info.get(b"length") is not None:
        raise TorrentError("inconsistent", "the torrent has both a length and a list of files")
    if not isinstance(listed, list) or not listed:
        raise TorrentError("bad-torrent", "the torrent's list of files is none")
    _check_count(len(listed))
    found = []
    offset = 0
    for item in listed:
        if not isinstance(item, dict):
            raise TorrentError("bad-torrent", "an item in the list of files is none")
        file = RawFile(_path(item), _size(item.get(b"length")), offset, _attributes(item))
        found.append(file)
        offset = _sum(offset, file.size)
    return found


def _path(item: Mapping[bytes, Value]) -> tuple[str, ...]:
    for key in (b"path.utf-8", b"path"):
        given = item.get(key)
        if isinstance(given, list) and given and all(isinstance(part, bytes) for part in given):
            return tuple(text(part) or "" for part in given)
    raise TorrentError("bad-path", "a file has no path")


def _attributes(item: Mapping[bytes, Value]) -> str:
    return text(item.get(b"attr")) or ""


def _size(value: Value | None) -> int:
    if not isinstance(value, int) or not 0 <= value < _MAX_TOTAL:
        raise TorrentError("bad-size", "a file has no usable length")
    return value


def _sum(offset: int, size: int) -> int:
    if offset + size >= _MAX_TOTAL:
        raise TorrentError("bad-size", "the files are larger than any torrent")
    return offset + size


def _check_count(count: int) -> None:
    if count > MAX_FILES:
        raise TorrentError("limits", f"the torrent has more than {MAX_FILES} files")


def version_2(info: Mapping[bytes, Value], piece_length: int) -> list[RawFile]:
    """Return the files of a version 2 file tree, each beginning a piece. Raises TorrentError."""
    tree = info.get(b"file tree")
    if not isinstance(tree, dict) or not tree:
        raise TorrentError("bad-torrent", "the torrent has no file tree")
    found: list[RawFile] = []
    offset = 0
    for parts, leaf in _walk(tree):
        offset = -(-offset // piece_length) * piece_length
        size = _size(leaf.get(b"length"))
        root = leaf.get(b"pieces root")
        if size and not (isinstance(root, bytes) and len(root) == _ROOT):
            raise TorrentError("missing-pieces", "a file has no root of its pieces")
        found.append(
            RawFile(parts, size, offset, _attributes(leaf), root if isinstance(root, bytes) and size else None)
        )
        _check_count(len(found))
        offset = _sum(offset, size)
    if not found:
        raise TorrentError("no-files", "the file tree has no file")
    return found


def _walk(tree: Mapping[bytes, Value]) -> Iterator[tuple[tuple[str, ...], Mapping[bytes, Value]]]:
    """Yield path and properties of each file, in the order found. Depth is bounded by the decoder."""
    waiting: list[tuple[tuple[str, ...], Mapping[bytes, Value]]] = [((), tree)]
    while waiting:
        parts, node = waiting.pop()
        leaf = node.get(b"")
        if parts and leaf is not None:
            if not isinstance(leaf, dict) or len(node) > 1:
                raise TorrentError("bad-torrent", "a file in the file tree is also a directory")
            yield parts, leaf
            continue
        below = []
        for key, child in node.items():
            if not isinstance(child, dict) or not key:
                raise TorrentError("bad-torrent", "the file tree holds something that is no file")
            below.append(((*parts, key.decode(errors="replace")), child))
        waiting.extend(reversed(below))


def together(one: list[RawFile], two: list[RawFile]) -> list[RawFile]:
    """Return the files of a torrent of both versions: the first's with the roots of the second's.

    Raises TorrentError "inconsistent" where they describe different files.
    """
    shown = [file for file in one if not file.padding]
    first = [(file.parts, file.size, file.offset if file.size else None) for file in shown]
    second = [(file.parts, file.size, file.offset if file.size else None) for file in two]
    if first != second:
        raise TorrentError("inconsistent", "the two versions in the torrent describe different files")
    roots = iter(two)
    return [
        file if file.padding else RawFile(file.parts, file.size, file.offset, file.attributes, next(roots).root)
        for file in one
    ]


@dataclass(slots=True)
class Paths:
    """Safe paths for the files of one torrent, no two alike; *top* is the torrent's own name."""

    top: str
    cautions: Cautions
    _files: set[str] = field(default_factory=set)
    _directories: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)

    def take(self, parts: tuple[str, ...]) -> PurePosixPath:
        """Return the path for the file at *parts* below the torrent's name."""
        safe = [names.component(part) or "_" for part in parts[: names.MAX_PARTS - 1]]
        wanted = "/".join([self.top, *safe])
        if names.fault(wanted) is not None:
            # Only its length can be wrong now: the end of the path still tells what it is.
            wanted = f"{self.top}/{safe[-1]}"
        if tuple(safe) != parts:
            self.cautions.add("unsafe-name", f"the name {quoted('/'.join(parts))} is shown as {quoted(wanted)}")
        if names.invisible(wanted):
            self.cautions.add("invisible-characters", f"the name {quoted(wanted)} has characters that nobody sees")
        path = self._free(wanted)
        if path != wanted:
            self.cautions.add("duplicate-path", f"{quoted(wanted)} is there already, so another is {quoted(path)}")
        self._files.add(path)
        self._directories.update(names.directories(path))
        return PurePosixPath(path)

    def _free(self, wanted: str) -> str:
        path = wanted
        while path in self._files or path in self._directories or self._below_file(path):
            # A number behind the name cannot help below a file: there the directory's own name has to change.
            wanted = wanted.replace("/", "_/", 1) if self._below_file(wanted) else wanted
            number = self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            path = names.numbered(wanted, number)
        return path

    def _below_file(self, path: str) -> bool:
        return any(directory in self._files for directory in names.directories(path))
