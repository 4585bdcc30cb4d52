"""What a descriptor says, set aside: of a file that nobody has opened only what `ls` and `stat` need stays in memory.

Law: a kept file says the same as the entry that it was made of, whatever becomes of the descriptor; it differs only
in where it lies. What is still to be asked or explained, and what says little or very much, is not set aside.

With 20 piece digests and two mirrors an entry takes 2.3 KB as values, 0.5 KB as `KeptFile`, and is back in 40 us.
"""

from typing import Protocol

from mountdl.catalog.names import shown_parts
from mountdl.content import LARGEST, Content, ContentKey, Level, content_of
from mountdl.descriptors.learned import awaited, documents
from mountdl.descriptors.model import Caution, Descriptor, Entry, Torrent
from mountdl.descriptors.packing import packed, unpacked
from mountdl.errors import StoreError

MOST = 1 << 16
"""Bytes of the largest entry that is set aside: a larger one, with thousands of digests, takes long to read again."""

_LOSSES = frozenset({"unsafe-name", "name-clash", "no-sources"})
"""Codes of cautions that say that a file is not among the entries, or not by the name that it was given."""


class Shelf(Protocol):
    """Where bytes are set aside until they are given back. In worker threads too; blocking, but short."""

    def put(self, data: bytes) -> int:
        """Set *data* aside and return where. Raises StoreError."""

    def get(self, place: int, length: int) -> bytes:
        """Return what was put. Raises StoreError."""

    def free(self, place: int, length: int) -> None:
        """Give its room back."""


class KeptFile:
    """One file of a descriptor, an `Outline`. *path* is where it is shown below its descriptor's folder.

    What is in its *torrent* is known to those who fetch for as long as somebody has that: its files, too.
    """

    __slots__ = ("_length", "_place", "_shelf", "_torrent", "cautions", "key", "level", "path", "size")

    def __init__(
        self,
        path: str,
        content: Content,
        cautions: tuple[Caution, ...],
        torrent: Torrent | None,
        shelf: Shelf,
        data: bytes,
    ) -> None:
        self.path = path
        self.key: ContentKey = content.key
        self.size: int = content.size
        self.level: Level = content.level
        self.cautions = cautions
        self._torrent = torrent
        self._shelf, self._length = shelf, 0
        self._place = shelf.put(data)
        self._length = len(data)

    def __del__(self) -> None:
        if self._length:
            self._shelf.free(self._place, self._length)

    @property
    def judged(self) -> int:
        """See `Outline`."""
        return self.size if self.level is Level.CHUNK else 0

    @property
    def entry(self) -> Entry:
        """What the descriptor says of it. Raises StoreError."""
        return unpacked(self._shelf.get(self._place, self._length))

    @property
    def full(self) -> Content:
        """See `Outline`."""
        return content_of(self.entry, self.size)


def kept(name: str, said: Descriptor, shelf: Shelf) -> tuple[KeptFile, ...] | None:
    """Set aside what the descriptor called *name* said; None where that stays in memory."""
    if not said.entries or said.magnets or said.dynamic or left_out(said):
        return None
    remarks = cautions_by_file(said.cautions)
    found = []
    for entry in said.entries:
        data = packed(entry) if _plain(entry) else b""
        parts = shown_parts(name, entry.path, alone=len(said.entries) == 1)
        if not parts or not 0 < len(data) <= MOST or entry.size is None:
            return None
        content = content_of(entry, entry.size)
        # In part verifiable: how far is known to the digests alone.
        if content.level is not Level.CHUNK and content.judged:
            return None
        try:
            found.append(
                KeptFile("/".join(parts), content, remarks.get(str(entry.path), ()), said.torrent, shelf, data)
            )
        except StoreError:
            return None  # a full disk: then memory must do
    return tuple(found)


def _plain(entry: Entry) -> bool:
    """Say whether *entry* is a file that is shown as it is, and nothing beside it."""
    sized = entry.size is not None and 0 <= entry.size <= LARGEST
    # Before it is packed: of a torrent with millions of digests that would be another copy of them.
    short = entry.pieces is None or len(entry.pieces.digests) < MOST
    return sized and short and entry.signature is None and not documents(entry) and not awaited(entry)


def cautions_by_file(cautions: tuple[Caution, ...]) -> dict[str, tuple[Caution, ...]]:
    """Return those of *cautions* that are about a file, by its path in the descriptor."""
    found: dict[str, list[Caution]] = {}
    for caution in cautions:
        if caution.file is not None:
            found.setdefault(caution.file, []).append(caution)
    return {name: tuple(remarks) for name, remarks in found.items()}


def left_out(said: Descriptor) -> list[Caution]:
    """Return why files that *said* names are not among its entries."""
    entries = {str(entry.path) for entry in said.entries}
    lost = [caution for caution in said.cautions if caution.code in _LOSSES and caution.file not in entries]
    # Why nothing is left of a file, its other cautions say.
    bare = {caution.file for caution in lost if caution.code == "no-sources"} - {None}
    return [caution for caution in said.cautions if caution in lost or caution.file in bare]
