"""Pieces that mirrors brought, for the swarm: out of the store into libtorrent while it fetches.

Law: what the store calls verified is read, never written: libtorrent checks it, puts it into the folder that it
fetches into and tells its peers. That costs as much disk again, so it is done only for peers who lack something, and
for half of what may lie there.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from mountdl.sources.swarm.holdings import Part, held
from mountdl.sources.swarm.layout import Layout
from mountdl.sources.swarm.stay import Stay

if TYPE_CHECKING:
    import libtorrent as lt

AT_ONCE = 16 << 20
"""Bytes, or one piece, between two looks: 1 to 3 ms a MiB, and libtorrent has no back-pressure."""


class Offering:
    """Which pieces were handed over, of a torrent laid out as *layout*; *most* of them may be."""

    def __init__(self, layout: Layout, most: int) -> None:
        self._layout, self._most = layout, most
        self._handed: set[int] = set()
        self.running = False

    def choose(self, held: Sequence[bool], stay: Stay) -> list[int]:
        """Return the pieces to hand over now, and take them as handed over: *held* by the store, but not by *stay*."""
        room = min(self._most - len(self._handed), max(1, AT_ONCE // self._layout.length))
        fitting = (piece for piece, each in enumerate(held) if each and not stay.closed[piece])
        lacking = (piece for piece in fitting if piece not in self._handed)
        chosen = list(islice(lacking, room))
        self._handed.update(chosen)
        return chosen

    def offer(self, stay: Stay, parts: Callable[[], list[Part]], work: Callable[[Callable[[], None]], None]) -> None:
        """Have peers that lack something get what mirrors brought of *parts*: *work* does so in a thread."""
        if stay.handle is None or self.running:
            return
        found = parts()
        pieces = self.choose(held(self._layout, found), stay)
        if pieces:
            self.running = True
            work(partial(self.hand_over, stay.handle, found, pieces))

    def hand_over(self, handle: "lt.torrent_handle", parts: Iterable[Part], pieces: Iterable[int]) -> None:
        """Give *pieces* of *parts* to *handle*, those that can be read. For a worker thread."""
        found = {part.file.index: part for part in parts}
        with suppress(OSError, RuntimeError):  # evicted, or the torrent is not in the session any more
            info = handle.torrent_file()
            for piece in pieces:
                if info is None:
                    break
                handle.add_piece(piece, bytes(self._bytes(piece, info.piece_size(piece), found)), 0)
        self.running = False

    def _bytes(self, piece: int, length: int, parts: dict[int, Part]) -> bytearray:
        data = bytearray(length)  # padding is zeros
        for file in self._layout.sharing(piece):
            extent, skipped = self._layout.part(file, piece)
            fd = os.open(parts[file.index].path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data[skipped : skipped + extent.length] = os.pread(fd, extent.length, extent.start)
            finally:
                os.close(fd)
        return data
