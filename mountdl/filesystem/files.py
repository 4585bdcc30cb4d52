"""What the mount asks about files: implemented by whoever wires engine and store together."""

from typing import Protocol

from mountdl.catalog.tree import Tree
from mountdl.content import Content, Outline
from mountdl.engine.reader import Reader
from mountdl.engine.status import DownloadStatus
from mountdl.extents import Extent


class Files(Protocol):
    """The verbs of the layers below that the file system uses."""

    def open(self, content: Outline) -> Reader:
        """Return a reader. Raises StoreError."""

    def warm(self, content: Outline) -> None:
        """Expect a first read of *content* soon."""

    def blocks(self, content: Outline) -> int:
        """Return the units of 512 bytes of it that are on disk."""

    async def stored(self, tree: Tree) -> int:
        """Return the bytes of the whole tree that are on disk."""

    def space(self) -> int:
        """Return the bytes that the disk of the store has left."""

    def status(self, content: Outline) -> DownloadStatus:
        """Return what is known of *content*."""

    def prefetch(self, content: Content, extent: Extent) -> None:
        """Fetch *extent* though nobody reads it."""

    def pin(self, content: Outline, *, on: bool) -> None:
        """Keep its bytes on disk, or no longer. Raises StoreError."""

    def pinned(self, content: Outline) -> bool:
        """Say whether it is pinned."""

    def pause(self, content: Outline, *, on: bool) -> None:
        """Fetch only what a reader waits for, or go on. Raises StoreError."""

    def paused(self, content: Outline) -> bool:
        """Say whether it is paused."""
