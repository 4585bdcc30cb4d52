"""What is on record of contents that nobody has open: the heads of their manifests, read once each.

Law: what it tells is what the manifest on disk says now; none that can't be read is an error.
"""

from mountdl.content import ContentKey
from mountdl.errors import StoreDamaged, StoreError
from mountdl.store import manifest as manifests
from mountdl.store.place import MANIFEST, Place


class Summaries:
    """The heads of manifests, by content."""

    def __init__(self) -> None:
        self._known: dict[ContentKey, tuple[tuple[int, int, int], manifests.Header | None]] = {}

    def of(self, place: Place) -> manifests.Header | None:
        """Return what is on record in *place*; None where nothing is, or nothing that can be read."""
        try:
            version = place.version(MANIFEST)
            if version is None:
                return None
            known = self._known.get(place.key)
            if known is None or known[0] != version:
                known = (version, _read_header(place))
                self._known[place.key] = known
            return known[1]
        except (OSError, StoreError):
            return None

    def forget(self, key: ContentKey) -> None:
        """Keep nothing of *key* any longer."""
        self._known.pop(key, None)


def _read_header(place: Place) -> manifests.Header | None:
    data = place.read(MANIFEST, manifests.HEADER_LIMIT)
    if data is None:
        return None
    try:
        return manifests.decode_header(data)
    except StoreDamaged:
        return None
