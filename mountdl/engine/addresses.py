"""Which transport a URL is for: by its scheme."""

from collections.abc import Iterable, Set
from urllib.parse import urlsplit

from mountdl.descriptors.model import Descriptor
from mountdl.sources.base import Transport


def scheme(url: str) -> str:
    """Return the scheme of *url*, lower case."""
    return urlsplit(url).scheme.lower()


def suffice(schemes: Set[str], said: Descriptor) -> bool:
    """Say whether all of *said* comes from addresses of *schemes*, whatever happens.

    Not where anything is still to be learned of it: that may lead anywhere.
    """
    if said.magnets or said.dynamic or said.torrent is not None:
        return False
    return all(
        entry.size is not None
        and not entry.swarms
        and all(ref.url.partition(":")[0].lower() in schemes for ref in entry.mirrors)
        for entry in said.entries
    )


class Transports:
    """Those that there are; of two for one scheme the later counts."""

    def __init__(self, transports: Iterable[Transport]) -> None:
        self._by_scheme: dict[str, Transport] = {}
        self.add(transports)

    def add(self, transports: Iterable[Transport]) -> None:
        """Have *transports* too from now on."""
        self._by_scheme.update((name, each) for each in transports for name in each.schemes)

    def of(self, url: str) -> Transport | None:
        """Return the one for *url*; None where its protocol is not spoken here."""
        return self._by_scheme.get(scheme(url))
