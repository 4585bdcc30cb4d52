"""One open file: the only engine type that the filesystem sees."""

from mountdl.engine.download import Download
from mountdl.errors import StoreDamaged
from mountdl.extents import Extent


class Reader:
    """Reads of one handle. Close it when the handle is released."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._open = True
        download.readers += 1

    def ready(self, extent: Extent) -> bytes | None:
        """Return the bytes of *extent* if they are readable now, else None."""
        download = self._download
        extent = extent.clip(download.content.size)
        if not download.readable(extent):
            return None
        try:
            data = download.stored.read(extent)
        except StoreDamaged:
            return None  # `read` will find out, and mend it
        download.used(extent)
        return data

    async def read(self, extent: Extent) -> bytes:
        """Return the bytes of *extent*, clipped to the content's size, as soon as they are readable.

        Raises ContentUnavailable, ContentChanged or StoreError within the read time-out. A hit on the
        store passes no checkpoint.
        """
        download = self._download
        extent = extent.clip(download.content.size)
        if not extent:
            return b""
        download.used(extent)
        if not download.readable(extent):
            await download.ensure(extent)
        try:
            return download.stored.read(extent)
        except StoreDamaged:
            download.damaged(extent)
            await download.ensure(extent)
            return download.stored.read(extent)

    def close(self) -> None:
        """Let the download know that this reader is gone. A second call does nothing."""
        if self._open:
            self._open = False
            self._download.readers -= 1
