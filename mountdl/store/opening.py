"""What is known of a content when it is opened, and the ledger that goes on with it.

Law: what manifest and journal say and the disk does not bear out is off the record before bytes may come in its place.
A content that is opened `frozen` is taken as it is found, and nothing of it is put on record.
"""

import logging
from dataclasses import dataclass
from functools import partial

from mountdl.errors import StoreError
from mountdl.extents import ExtentSet
from mountdl.store import journal as journals
from mountdl.store.datafile import DataFile
from mountdl.store.journal import Journal, Reading
from mountdl.store.ledger import Ledger
from mountdl.store.manifest import Manifest, load
from mountdl.store.place import JOURNAL, MANIFEST, Place
from mountdl.store.recovery import Claims, reconcile, weigh

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opening:
    """One content, as its files and its chunk map's *fingerprint* name it, in the *boot* of this kernel."""

    place: Place
    data: DataFile
    fingerprint: str
    boot: bytes

    def recover(self) -> tuple[Claims, Ledger]:
        """Return what counts of it, and what puts on record what happens to it. Raises OSError, StoreError."""
        place, data = self.place, self.data
        manifest, altered, reading = self._recorded()
        claims = weigh(manifest, reading, self.fingerprint)
        claimed = (claims.written.total, claims.verified.total)
        allocated = ExtentSet() if data.created else data.allocated()
        reconcile(claims, allocated, min(data.found_size, data.size), data.grain)
        ledger = partial(Ledger, place, data)
        if data.frozen:
            return claims, ledger(Journal(place, self._header, reading.length, frozen=True), ExtentSet())
        data.resize(allocated)
        for extent in claims.discarded:
            data.punch(extent)
        # What manifest and journal say and does not count must go before bytes come in its place.
        denied = claimed != (claims.written.total, claims.verified.total)
        renamed = manifest is not None and manifest.fingerprint != self.fingerprint
        if altered or denied or renamed or not reading.current:
            begun = ledger(Journal(place, self._header, 0), ExtentSet())
            begun.start_afresh(Manifest(place.key, data.size, self.fingerprint, claims.written, claims.verified))
            return claims, begun
        on_disk = manifest.written.copy() if manifest is not None else ExtentSet()
        return claims, ledger(Journal(place, self._header, reading.length), on_disk)

    @property
    def _header(self) -> bytes:
        return journals.header_for(self.boot, self.place.key, self.data.size, self.fingerprint)

    def _recorded(self) -> tuple[Manifest | None, bool, Reading]:
        """Return what the manifest says, whether it was altered, and what the journal says."""
        try:
            manifest, altered = load(self.place)
            told = self.place.read(JOURNAL, journals.LIMIT) or b""
        except (OSError, StoreError):
            if not self.data.frozen:
                raise
            return self._nothing()
        size = self.data.size
        if manifest is not None and manifest.size != size:
            if self.data.frozen:
                return self._nothing()
            log.warning("%s: %d bytes were expected, now %d are: starting over", self.place.key, manifest.size, size)
            self.place.unlink(MANIFEST, JOURNAL)
            self.data.clear()
            manifest, told = None, b""
        reading = journals.parse(told, self._header, size)
        if reading.damaged:
            log.warning("%s: its journal was altered; what is stored is hashed before it is used", self.place.key)
        return manifest, altered, reading

    def _nothing(self) -> tuple[Manifest | None, bool, Reading]:
        """Take it for one of which nothing is here: what can't be told from it is fetched anew."""
        self.data.created = True
        return None, False, Reading()
