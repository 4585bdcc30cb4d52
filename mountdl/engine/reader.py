"""One open file: the only engine type that the filesystem sees."""

from mountdl.engine.download import Download
from mountdl.engine.verifier import in_thread
from mountdl.errors import StoreDamaged
from mountdl.extents import Extent

TRIES = 3
"""How often bytes may go, evicted or found rotten, while they are being read, before the loop itself reads them."""


class Reader:
    """Reads of one handle. Close it when the handle is released."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._open = True
        download.readers += 1

    def ready(self, extent: Extent) -> bytes | memoryview | None:
        """Return the bytes of *extent* if they can be had now, without a wait for anything, else None.

        A view is good until the caller's next checkpoint.
        """
        download = self._download
        extent = extent.clip(download.content.size)
        download.hear()
        if not download.readable(extent):
            return None
        try:
            data = download.glance(extent)
        except StoreDamaged:
            return None  # `read` will find out, and mend it
        if data is not None:
            download.used(extent)
        return data

    async def read(self, extent: Extent) -> bytes | memoryview:
        """Return the bytes of *extent*, clipped to the content's size, as soon as they are readable.

        Raises ContentUnavailable, ContentChanged or StoreError within the read time-out. A view is good until
        the caller's next checkpoint.
        """
        download = self._download
        extent = extent.clip(download.content.size)
        if not extent:
            return b""
        download.used(extent)
        for _ in range(TRIES):
            if not download.readable(extent):
                await download.ensure(extent)
            try:
                data = download.glance(extent)
                if data is None:
                    data = await self._load(extent)
            except StoreDamaged:
                download.damaged(extent)
                continue
            if data is not None:
                return data
        if not download.readable(extent):
            await download.ensure(extent)
        return download.glance(extent) or download.stored.read(extent)

    async def _load(self, extent: Extent) -> memoryview | None:
        """Return the bytes of *extent* from the disk; None if something went from the store meanwhile."""
        reading = self._download.stored.reading
        load = reading.begin(extent)
        await in_thread(load.run)
        return reading.end(load)

    def close(self) -> None:
        """Let the download know that this reader is gone. A second call does nothing."""
        if self._open:
            self._open = False
            self._download.readers -= 1
