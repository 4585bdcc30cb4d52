"""libtorrent, loaded once the first torrent is to be joined.

Law: nothing of this package imports it while it is imported itself: a mount that meets no torrent does without its
13 ms and 10 MB (libtorrent 2.1.1), and may be on a machine without it. Whatever calls it runs after `load`.
"""

import importlib
import logging
import sys

import trio

from mountdl.errors import SourceRefused

log = logging.getLogger(__name__)

LEAST = (2, 1)
"""2.0, which Debian has, names other things than this package uses, and writes in several threads (ADR 19)."""
NEEDED = f"this needs libtorrent {'.'.join(map(str, LEAST))} or newer"
PYTHON = ".".join(map(str, sys.version_info[:2]))
"""There may be no libtorrent yet for one that is new."""


class Binding:
    """Whether libtorrent is *loaded*; a thread loads it, so that the loop goes on meanwhile."""

    def __init__(self) -> None:
        self.loaded = False
        self._missed = False

    async def load(self) -> None:
        """Have it loaded. Raises SourceRefused where this machine can't, or has one that is too old."""
        if self.loaded:
            return
        try:
            library = await trio.to_thread.run_sync(importlib.import_module, "libtorrent")
            _judge(library.__version__)
        except ImportError as error:
            if not self._missed:
                log.warning("torrents are fetched from web seeds only: libtorrent can't be loaded (%s)", error)
            self._missed = True
            raise SourceRefused("swarm", f"{NEEDED} for Python {PYTHON} (pip install libtorrent): {error}") from error
        self.loaded = True


def _judge(version: str) -> None:
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST:
        raise ImportError(f"it is {version}, which is too old")
