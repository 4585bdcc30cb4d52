"""Info dictionaries that magnets and addresses lead to: asked of peers once, and kept.

Law: what is kept or comes from anywhere counts only if it hashes to the info-hash that was asked for. Every mount has
a library, so that what reads torrents is loaded once one is asked for.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from weakref import WeakValueDictionary

from mountdl.descriptors.model import Descriptor, Torrent
from mountdl.errors import DescriptorError
from mountdl.sources.swarm.kept import Kept

log = logging.getLogger(__name__)


class Library:
    """Torrents by info-hash: those that somebody has in memory, and those that were asked for and are *kept*."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self._known = WeakValueDictionary[bytes, Torrent]()

    def learn(self, torrent: Torrent) -> None:
        """Know *torrent* for as long as somebody has it: a descriptor that is shown. May be called in any thread."""
        for each in hashes(torrent):
            self._known[each] = torrent

    def find(self, wanted: Iterable[bytes | None]) -> Torrent | None:
        """Return the torrent of one of the raw info-hashes *wanted*, if it is known or was kept."""
        named = [each for each in wanted if each]
        for each in named:
            if (known := self._known.get(each)) is not None:
                return known
        for each in named:
            descriptor = self._kept(each)
            if descriptor is not None and descriptor.torrent is not None:
                self.learn(descriptor.torrent)
                return descriptor.torrent
        return None

    def keep(self, torrent: Torrent) -> None:
        """Know *torrent* from now on and at the next mount."""
        from mountdl.sources.swarm.adding import document

        self.learn(torrent)
        try:
            for each in hashes(torrent):
                self.kept.write(each, document(torrent))
        except OSError as error:
            log.warning("the metadata of a magnet can't be kept in %s: %s", self.kept.folder, error.strerror)

    def _kept(self, info_hash: bytes) -> Descriptor | None:
        from mountdl.descriptors import torrent

        with suppress(OSError, DescriptorError):
            descriptor = torrent.parse(self.kept.read(info_hash), bare=True)
            if descriptor.torrent is not None and info_hash in hashes(descriptor.torrent):
                return descriptor
        return None


def hashes(torrent: Torrent) -> tuple[bytes, ...]:
    """Return the raw info-hashes of *torrent*."""
    return tuple(each for each in (torrent.info_hash_v1, torrent.info_hash_v2) if each)


def of_info(info: bytes) -> Descriptor:
    """Return what an info dictionary as peers send it says. Raises DescriptorError."""
    from mountdl.descriptors import torrent

    return torrent.parse(b"d4:info" + info + b"e", bare=True)
