"""libtorrent, loaded once the first torrent is to be joined.

Law: nothing of this package imports it while it is imported itself: a mount that meets no torrent does without its
13 ms and 10 MB (libtorrent 2.1.1), and may be on a machine without it. Whatever calls it runs after `load`.
"""

import importlib
import logging

import trio

from mountdl.errors import SourceRefused

log = logging.getLogger(__name__)


class Binding:
    """Whether libtorrent is *loaded*; a thread loads it, so that the loop goes on meanwhile."""

    def __init__(self) -> None:
        self.loaded = False
        self._missed = False

    async def load(self) -> None:
        """Have it loaded. Raises SourceRefused where this machine can't."""
        if self.loaded:
            return
        try:
            await trio.to_thread.run_sync(importlib.import_module, "libtorrent")
        except ImportError as error:
            if not self._missed:
                log.warning("torrents are fetched from web seeds only: libtorrent can't be loaded (%s)", error)
            self._missed = True
            raise SourceRefused("swarm", f"this needs libtorrent (pip install libtorrent): {error}") from error
        self.loaded = True
